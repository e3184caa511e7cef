"The book without Quarto: its pages exist, and links lead somewhere."

import json
import re
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
listed = re.findall(
    r"^\s*- (?:chapters: )?(\S+\.(?:qmd|ipynb))$", (root / "_quarto.yml").read_text(), re.M
)
notebooks = sorted((root / "nbs").rglob("[!.]*.ipynb"))
written = [*sorted(root.glob("*.qmd")), root / "CONTRIBUTING.md", root / "CHANGELOG.md"]


def cells_of(path: Path, kind: str) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def prose_of(path: Path) -> str:
    "What Markdown says, without its code, in which brackets are no links."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(cells_of(path, "markdown"))
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def name_of(path: Path) -> str:
    return str(path.relative_to(root))


def test_every_page_exists_and_is_listed_once():
    pages = [name_of(path) for path in [*notebooks, *root.glob("*.qmd")]]
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("path", [*notebooks, *written], ids=name_of)
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)\s]+)\)", prose_of(path))
    for link in links:
        if not re.match(r"https?:|mailto:|#", link):
            target = (path.parent / link.partition("#")[0]).resolve()
            assert target.is_file() and target.is_relative_to(root), link
            if target.suffix in (".ipynb", ".qmd") and path.suffix in (".ipynb", ".qmd"):
                assert name_of(target) in listed, f"{link} is no page of the book"


@pytest.mark.parametrize("path", notebooks, ids=name_of)
def test_a_notebook_opens_with_its_title_and_has_one(path):
    first, *rest = cells_of(path, "markdown")
    assert re.match(r"# \S.*\n\n> \S", first)
    assert not any(re.search(r"^# ", text, re.M) for text in rest)


def test_the_answer_and_the_readme_say_the_same():
    table = (root / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| (\d\.\d{4}) \|$", table, re.M))
    answer = (root / "index.qmd").read_text(encoding="utf-8")
    told = {
        "global mean",
        "damped biases",
        "user CF, cosine, all raters",
        "user CF, centred, 40 nearest",
        "movie CF, centred, 40 nearest",
        "factorization, U V^T",
        "factorization, biases",
        "both families, mean field",
        "both families, mean field with time",
    }
    for name in told:
        assert f"{float(rows[name]):.3f}" in answer, name
    assert abs(float(rows["factorization, mean field"]) - 0.839) < 0.001 and "0.839" in answer
