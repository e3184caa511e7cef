"What a user installs and imports: light, complete, and without traces."

import ast
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import joblib
import pytest
from sklearn.base import clone
from sklearn.utils.validation import check_memory

root = Path(__file__).resolve().parents[1]
modules = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for path in (root / "thu_big_data_ml").rglob("*.py")
)


def run_python(code: str, *words: str, **options) -> str:
    "What a fresh interpreter prints for `code`."
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def home_in(folder: Path) -> dict:
    "An environment whose user, caches and data live in `folder`."
    here = dict(
        HOME=str(folder), USERPROFILE=str(folder), THU_BIG_DATA_ML_DATA=str(folder / "data")
    )
    rest = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    return rest | here | dict(PYTHONPATH=str(root))


def test_importing_creates_nothing(tmp_path):
    code = """
import sys, importlib
[importlib.import_module(name) for name in sys.argv[1:]]
assert not {"dask", "distributed", "jax"} & set(sys.modules)
"""
    run_python(code, *modules, cwd=tmp_path, env=home_in(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_memory_makes_its_folder_at_the_first_cached_call(tmp_path):
    code = """
from thu_big_data_ml.help import data_path, joblib_memory
from sklearn.utils.extmath import softmax
remembered = joblib_memory.cache(softmax)
joblib_memory.clear(warn=False)
assert not data_path.exists()
import numpy as np
assert remembered(np.eye(2))[0].sum() == 1
assert remembered.check_call_in_cache(np.eye(2)) and (data_path / "cache").is_dir()
joblib_memory.clear(warn=False)
assert not remembered.check_call_in_cache(np.eye(2))
"""
    run_python(code, cwd=tmp_path, env=home_in(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_memory_is_a_memory_of_joblib():
    from thu_big_data_ml.evaluation.tuning import CachedScore
    from thu_big_data_ml.help import joblib_memory

    assert isinstance(joblib_memory, joblib.Memory) and check_memory(joblib_memory) is joblib_memory
    copy = clone(CachedScore(None, memory=joblib_memory)).memory
    assert copy.store_backend.location == joblib_memory.store_backend.location


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path):
    from thu_big_data_ml.help import joblib_memory

    (tmp_path / "taken").write_text("a file, not a folder")
    memory = joblib.Memory(tmp_path / "taken" / "cache", backend=joblib_memory.backend, verbose=0)
    remembered = memory.cache(os.path.basename)
    with pytest.warns(UserWarning, match="is a file, not a folder. Choose another"):
        assert remembered("some/path") == "path"
    assert (tmp_path / "taken").read_text() == "a file, not a folder"


def test_the_top_level_is_light():
    code = """
import sys
import thu_big_data_ml
heavy = {"numpy", "pandas", "sklearn", "torch", "plotly", "numba"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
thu_big_data_ml.get_device
assert not {"torch", "plotly", "numba"} & set(sys.modules)
"""
    run_python(code, env=os.environ | dict(PYTHONPATH=str(root)))


def test_the_stub_lists_each_public_name_once_and_each_is_there():
    import thu_big_data_ml

    tree = ast.parse((root / "thu_big_data_ml" / "__init__.pyi").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports for alias in node.names]
    listed = next(
        ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
    )
    assert sorted(names) == listed == thu_big_data_ml.__all__ and len(set(names)) == len(names)
    for node in imports:
        module = importlib.import_module(f"thu_big_data_ml.{node.module}")
        for alias in node.names:
            assert alias.name in module.__all__, f"{node.module} does not export {alias.name}"
            assert getattr(thu_big_data_ml, alias.name) is getattr(module, alias.name)


@pytest.mark.parametrize("module", ["", ".big_data_analytics.matrix_decomposition"])
def test_a_star_import_brings_every_public_name(module):
    import thu_big_data_ml

    names = {}
    exec(f"from thu_big_data_ml{module} import *", names)
    assert set(names) - {"__builtins__"} == set(thu_big_data_ml.__all__)


def test_every_module_has_its_notebook():
    notebooks = [path.read_text() for path in (root / "nbs").rglob("*.ipynb")]
    exported = re.findall(r"#\|\s*default_exp ([\w.]+)", "\n".join(notebooks))
    found = [name.removeprefix("thu_big_data_ml.") for name in modules if not is_folder(name)]
    assert sorted(exported) == sorted(set(found) - {"_modidx"})


def is_folder(module: str) -> bool:
    "Whether a module is a package."
    return (root / module.replace(".", "/")).is_dir()


def test_versions_agree():
    import thu_big_data_ml

    settings = ConfigParser(delimiters=["="])
    settings.read(root / "settings.ini", encoding="utf-8")
    version = settings["DEFAULT"]["version"]
    assert thu_big_data_ml.__version__ == version
    assert re.search(rf"^## {re.escape(version)}\b", (root / "CHANGELOG.md").read_text(), re.M)
    assert f"version: {version}\n" in (root / "CITATION.cff").read_text()


def test_every_requirement_stands_under_its_licence():
    settings = ConfigParser(delimiters=["="])
    settings.read(root / "settings.ini", encoding="utf-8")
    lists = [
        settings["DEFAULT"][f"{part}requirements"]
        for part in ("", "sample_", "jax_", "distributed_")
    ]
    needed = {re.match(r"[\w-]+", line)[0] for line in " ".join(lists).split()}
    section = (root / "README.md").read_text().partition("## Licences")[2]
    rows = re.findall(r"^\| ([\w. ]+) \| (.+) \|$", section, re.M)
    named = {name: licence for licence, names in rows for name in re.findall(r"[\w-]+", names)}
    assert needed <= named.keys(), sorted(needed - named.keys())
    for name in needed:
        found = metadata.metadata(name)
        lines = found.get_all("License-Expression", []) or found.get_all("Classifier", [])
        told = " ".join(lines)
        assert ("GPL" in named[name]) == ("GPL" in told.replace("LGPL", "")), name


def test_the_readme_links_work_outside_the_repository():
    readme = (root / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert links and all(link.startswith("https://") for link in links)
    ours = r"\Ahttps://github\.com/Open-Book-Studio/[\w-]+/(?:blob|tree)/main/(.+)"
    for path in (found[1] for found in map(re.compile(ours).match, links) if found):
        assert (root / path).exists(), path


def test_the_readme_example_uses_public_names_only():
    import thu_big_data_ml

    example = re.search(r"```python\n(.+?)```", (root / "README.md").read_text(), re.S)[1]
    names = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Name)]
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    used = {name.id for name in names} - made
    assert used <= set(thu_big_data_ml.__all__), used - set(thu_big_data_ml.__all__)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    "The sdist, and the wheel that is built from it, out of a copy of the repository."
    for package in ("build", "setuptools", "pip"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    copy, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("dist")
    unwanted = [".*", "data", "results", "build", "dist", "_docs", "*.egg-info", "__pycache__"]
    shutil.copytree(root, copy, ignore=copy_without(unwanted))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def copy_without(patterns: list[str]):
    "For `copytree`: what matches `patterns` at the top level, and caches anywhere, stay behind."

    def ignored(folder, names):
        return shutil.ignore_patterns(*(patterns if Path(folder) == root else patterns[-1:]))(
            folder, names
        )

    return ignored


def test_the_sdist_holds_what_a_reader_and_a_builder_need(distributions):
    with tarfile.open(distributions[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [*(root / "nbs").rglob("*.ipynb"), *(root / "tests").glob("*.py")]
    wanted = {path.relative_to(root).as_posix() for path in wanted if ".ipynb_c" not in str(path)}
    wanted |= {"settings.ini", "setup.py", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    assert wanted <= held, sorted(wanted - held)
    assert not any(re.search(r"__pycache__|\.py[co]$|^data/|environments", name) for name in held)


def test_the_wheel_holds_the_whole_package(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = root / "thu_big_data_ml"
    wanted = [p for p in package.rglob("*") if p.suffix in (".py", ".pyi", ".typed")]
    assert held == {path.relative_to(root).as_posix() for path in wanted}


def test_the_console_script_of_an_installed_wheel(distributions, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--target", tmp_path / "site", distributions[1]]
    subprocess.run(pip, check=True, capture_output=True)
    from thu_big_data_ml import __version__

    script = next((tmp_path / "site" / "bin").glob("thu_big_data_ml*"))
    env = home_in(home) | dict(PYTHONPATH=str(tmp_path / "site"))
    for command in ([sys.executable, script], [sys.executable, "-m", "thu_big_data_ml"]):
        done = subprocess.run([*command, "--version"], cwd=home, env=env, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode().split() == ["thu_big_data_ml", __version__]
    assert not list(home.iterdir())
