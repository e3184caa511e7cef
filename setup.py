"Packaging: every fact comes from settings.ini, which nbdev reads too."

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
facts = config["DEFAULT"]
name, home = facts["lib_name"], facts["git_url"]

setup(
    name=name,
    version=facts["version"],
    description=facts["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=facts["author"],
    author_email=facts["author_email"],
    license="Apache-2.0",
    license_files=["LICENSE"],
    url=home,
    project_urls={
        "Book": facts["doc_host"] + facts["doc_baseurl"],
        "Changelog": f"{home}/blob/{facts['branch']}/CHANGELOG.md",
    },
    keywords=facts["keywords"],
    packages=find_packages(include=[name, f"{name}.*"]),
    package_data={name: ["py.typed", "*.pyi"], f"{name}.big_data_analytics": ["*.pyi"]},
    entry_points={"console_scripts": [f"{name} = {name}.__main__:main"]},
    python_requires=">=" + facts["min_python"],
    install_requires=facts["requirements"].split(),
    extras_require={
        extra: facts[f"{extra}_requirements"].split()
        for extra in ("sample", "jax", "distributed", "dev")
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)),
        "Typing :: Typed",
    ],
    zip_safe=False,
)
