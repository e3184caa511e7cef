"The book: the filter that makes pages of notebooks and, where Quarto is, the rendered pages."

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(root / "assets"))

import book_filter
import compare_outputs
import execute_notebooks
import polib
import stay_offline
import translate

import thu_big_data_ml

notebooks = sorted((root / "nbs").rglob("[!.]*.ipynb"))


def name_of(path: Path) -> str:
    return str(path.relative_to(root))


def notebook(*sources: str, kind: str = "chapter") -> dict:
    "A notebook of a title and some cells with code."
    head = {"cell_type": "markdown", "id": "head", "metadata": {}}
    head["source"] = f"# Title\n\n> Summary.\n\n*A {kind}.*\n"
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [code | {"id": f"c{n}", "source": source} for n, source in enumerate(sources)]
    return {"cells": [head, *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def filtered(*sources: str, kind: str = "chapter") -> list[dict]:
    "The cells of its page, but for the title."
    return cells_of(notebook(*sources, kind=kind))[1:]


def cells_of(book: dict, path: str = "") -> list[dict]:
    "The cells of a page, the source of each in one piece."
    cells = book_filter.page(book, path)["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def only(cells: list[dict], format: str) -> str:
    "What Markdown shows in one format alone."
    text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    blocks = rf'::: {{\.content-visible when-format="{format}"}}(.*?)\n:::(?=\n|$)'
    return "\n".join(re.findall(blocks, text, re.S))


scale = '''def scale(x: float, by: float = 2, *others: int, deep: bool = False) -> float:
    """Multiply ``x`` by `by`, where *by* is a_b and costs $5 | <6>.

    It is x * y * z, and $x_i | y$.

    Parameters
    ----------
    x : float
        A number; ``**kwargs`` and *args are not taken.
    by, deep : {"one", "two"}, default "one"
        How.

    Returns
    -------
    float
        The product.

    Raises
    ------
    ValueError
        Never.

    References
    ----------
    Euclid, *Elements*, https://example.org/a_b.

    Examples
    --------
    >>> scale(2)
    4
    """
    # at once
    return _times(x, by)


def _times(x, y):
    "The product."
    return x * y'''


@pytest.mark.parametrize(
    "source",
    [
        "#| default_exp data.ratings",
        "import numpy as np\n\n# and\nfrom scipy import sparse",
        "#| export\nimport numpy as np",
        "#| hide\nprint(1)",
        "",
    ],
)
def test_a_page_has_no_imports_and_nothing_hidden(source):
    assert filtered(source) == []


def test_marks_of_nbdev_go_and_those_of_quarto_stay():
    (cell,) = filtered('#| slow\n#| label: fig-a\n#| eval: false\n#| fig-cap: "A"\nplot(1)')
    assert cell["source"] == '#| label: fig-a\n#| fig-cap: "A"\nplot(1)'
    head = cells_of(notebook())[0]
    assert head["source"].split() == ["#", "Title", ">", "Summary."]
    head = cells_of(notebook(), "nbs/a.ipynb")[0]
    assert head["source"].startswith('# Title\n\n```{=typst}\n#page-of("nbs/a.ipynb")\n```\n\n> ')


@pytest.mark.parametrize("kind", ["chapter", "machine room"])
def test_formulas_are_shown_without_docstrings(kind):
    shown, below = filtered(f"#| exports\n{scale}", kind=kind)
    assert shown["source"].splitlines() == [
        "def scale(x: float, by: float = 2, *others: int, deep: bool = False) -> float:",
        "    # at once",
        "    return _times(x, by)",
        "",
        "",
        "def _times(x, y):",
        "    return x * y",
    ]
    assert only([below], "html") and "- `" not in only([below], "typst")
    assert "Source" not in below["source"]


def test_what_is_left_of_a_class_without_its_docstring():
    (shown, _) = filtered(
        '#| exports\nclass A(B):\n    "An A."\n\n\nclass C(B):\n    "C."\n\n    x = 1'
    )
    assert shown["source"] == "class A(B):\n    ...\n\n\nclass C(B):\n    x = 1"


def test_the_documentation_of_a_function():
    page = only(filtered(f"#| export\n{scale}"), "html")
    for text in (
        '<details class="doc" id="doc-scale">',
        r"[Multiply `x` by `by`, where *by* is a\_b and costs \$5 \| \<6\>.]{.doc-summary}",
        "scale(x: float, by: float = 2, *others: int, deep: bool = False) -> float",
        r"It is x \* y \* z, and $x_i | y$.",
        "`x` [float]{.doc-type}\n:   A number; `**kwargs` and \\*args are not taken.",
        r"`deep` [\"one\", \"two\", default \"one\"]{.doc-type}",
        "[float]{.doc-type}\n:   The product.",
        "[ValueError]{.doc-type}\n:   Never.",
        "Euclid, *Elements*, <https://example.org/a_b>.",
        "````python\n>>> scale(2)\n4\n````",
        "<summary>Source of `_times`</summary>",
    ):
        assert text in page, text
    assert page.count("<details") == page.count("</details>") == 3


def test_the_documentation_of_a_class():
    source = """class Box(Base):
    "Holds things."

    def __init__(self, size=1):
        self.size = size

    def put(
        self,
        thing: object,  # what is put, `None` is nothing
        *,
        # in grams, or
        # in pounds
        weight: float = 1.0,
    ) -> int:  # how many there are
        "Put a thing into it."

    @property
    def full(self):
        "Whether there is no room."

    def _shake(self):
        "Not public."
"""
    page = only(filtered(f"#| export\n{source}"), "html")
    assert "Box(size=1)" in page and "`full` [Whether there is no room.]" in page
    assert "`thing` [object]{.doc-type}\n:   what is put, `None` is nothing" in page
    assert "`weight` [float]{.doc-type}\n:   in grams, or in pounds" in page
    assert "[int]{.doc-type}\n:   how many there are" in page
    assert "Not public" not in page.partition("<summary>Source")[0]


def test_the_pdf_has_a_line_for_each_name_of_a_machine_room():
    rooms = only(filtered(f"#| export\n{scale}", kind="machine room"), "typst")
    link = '```{=typst}\n#metadata("scale") <doc-scale>\n```'
    assert rooms.strip().startswith(link)
    line = rooms.strip().removeprefix(link).strip()
    assert line.startswith("- `scale(x, by=2, *others, deep=False)`: Multiply `x` by")
    assert len(line.splitlines()) == 1
    assert only(filtered(f"#| export\n{scale}"), "typst").strip() == link


def test_outputs_of_exporting_cells_stay():
    book = notebook("#| export\nx = 1")
    book["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]
    *_, last = cells_of(book)
    assert last["source"].startswith("#| echo: false\n") and last["outputs"]


def test_an_interactive_figure_says_what_is_drawn():
    book = notebook('#| label: fig-a\n#| fig-alt: "Bars & <dots>."\nplot(1)', "x")
    drawn = {"text/html": ["<div", ">x</div>"], "image/png": "x"}
    for cell in book["cells"][1:]:
        cell["outputs"] = [{"output_type": "display_data", "data": drawn}]
    figure, other = cells_of(book)[1:]
    told = '<div role="group" aria-label="Bars &amp; &lt;dots&gt;."><div>x</div></div>'
    assert "".join(figure["outputs"][0]["data"]["text/html"]) == told
    assert other["outputs"][0]["data"] == drawn == book["cells"][1]["outputs"][0]["data"]


def test_headings_of_a_table_stand_as_its_columns_do():
    book = stored('<table><tr style="text-align: right;"><th>a</th></tr></table>', "text/html")
    *_, cell = cells_of(book)
    assert "".join(cell["outputs"][0]["data"]["text/html"]) == "<table><tr><th>a</th></tr></table>"


def test_long_code_of_a_table_is_folded_in_a_chapter():
    long = '#| label: tbl-a\n#| tbl-cap: "A"\n' + "x = 1\n" * 5 + "x"
    head, shown = filtered(long)
    assert shown["source"].startswith("#| echo: false\n#| label: tbl-a\n")
    assert "<summary>Code</summary>" in only([head], "html") and not only([head], "typst")
    assert only([head], "html").count("x = 1") == 5
    for kept, kind in ((long, "machine room"), (long.replace("x = 1\n", "", 1), "chapter")):
        (cell,) = filtered(kept, kind=kind)
        assert cell["source"] == kept
    (cell,) = filtered("x = 1\n" * 9)
    assert "echo" not in cell["source"]


def test_the_filter_is_a_program(tmp_path):
    given = json.dumps(notebook(f"#| export\n{scale} # Zoë"), ensure_ascii=False)
    command = [sys.executable, root / "assets" / "book_filter.py"]
    done = subprocess.run(command, input=given.encode(), capture_output=True, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert json.loads(done.stdout.decode()) == book_filter.page(json.loads(given))


def docstrings(source: str) -> list[str]:
    nodes = ast.walk(ast.parse(source))
    return [ast.get_docstring(n) for n in nodes if isinstance(n, book_filter.Definition)]


def test_every_notebook_is_a_page():
    start = time.process_time()
    pages = {path: book_filter.page(json.loads(path.read_text())) for path in notebooks}
    assert time.process_time() - start < 10
    for path, page in pages.items():
        exported = {
            cell["id"]
            for cell in json.loads(path.read_text())["cells"]
            if re.search(r"^#\| *exports\b", "".join(cell["source"]), re.M)
        }
        outputs = json.dumps([cell.get("outputs") for cell in page["cells"]])
        text = json.dumps(page)
        assert not re.search(r"#\| *(export|default_exp|hide|slow|cuda)", text), name_of(path)
        assert not re.search(r"Traceback|Warning:|/site-packages/", outputs), name_of(path)
        assert text.count("<details") == text.count("</details>"), name_of(path)
        for cell in page["cells"]:
            if cell["id"] in exported and cell["cell_type"] == "code":
                assert not any(docstrings("".join(cell["source"]))), f"{name_of(path)} {cell['id']}"


def stored(text: str, kind: str = "text/plain") -> dict:
    "A notebook of a cell with an output."
    book = notebook("show")
    book["cells"][1]["outputs"] = [{"output_type": "display_data", "data": {kind: text}}]
    return book


frame = """<table><tr><th></th><th>RMSE</th><th>fit (s)</th></tr>
<tr><th rowspan="2">a</th><th>b</th><td>0.891</td><td>{}</td></tr>
<tr><th>c</th><td>{}</td><td>2.0</td></tr></table>"""


@pytest.mark.parametrize(
    "old, new, same",
    [
        ("RMSE 0.8908", "RMSE 0.8911", True),
        ("RMSE 0.8908", "RMSE 0.9308", False),
        ("1,000 users in 3.2 s, 12 MB", "1,000 users in 9 s, 40 MB", True),
        ("1,000 users in 3.2 s", "2,000 users in 3.2 s", False),
        ("fitted", "not fitted", False),
        ("08:12:13 done", "09:00:01 done", True),
        (frame.format(1.5, 0.5), frame.format(9.5, 0.5), True),
        (frame.format(1.5, 0.5), frame.format(1.5, 0.6), False),
    ],
)
def test_outputs_are_compared_but_for_seconds_and_bytes(old, new, same):
    kind = "text/html" if "<table" in old else "text/plain"
    found = compare_outputs.differences(stored(old, kind), stored(new, kind))
    assert bool(found) != same


def index_of_functions() -> str:
    "What the page of all public names stores."
    cells = json.loads((root / "nbs" / "functions.ipynb").read_text())["cells"]
    (cell,) = (cell for cell in cells if cell["cell_type"] == "code")
    names = {}
    code = ast.parse("".join(cell["source"]))
    exec(compile(code, "functions.ipynb", "exec"), names)
    (output,) = cell["outputs"]
    assert "".join(output["data"]["text/markdown"]) == names["page"], "run nbs/functions.ipynb"
    return names["page"]


def test_the_page_of_functions_is_of_today(monkeypatch):
    monkeypatch.chdir(root)
    rows = re.findall(r"^\| \[`([\w.]+)`\]\((\S+)#(\S+)\)", index_of_functions(), re.M)
    names = {name for name, *_ in rows}
    public = {n for n in thu_big_data_ml.__all__ if callable(getattr(thu_big_data_ml, n))}
    assert {n for n in names if "." not in n} == public and len(names) == len(rows)
    assert any(name.startswith("dask.") for name in names)
    for _, path, anchor in rows:
        page = book_filter.page(json.loads((root / "nbs" / path).read_text()))
        assert f'id=\\"{anchor}\\"' in json.dumps(page), anchor


# Translated


def test_the_catalogue_is_complete():
    found = list(translate.problems(translate.messages(), translate.entries(translate.catalogue)))
    assert not found, f"{len(found)}: python assets/translate.py check"


def translated(message: str) -> str:
    "A translation that keeps all it must keep."
    return f"| 译 {message[2:]}" if message.startswith("| ") else f"译 {message}"


@pytest.fixture(scope="module")
def messages() -> dict:
    return translate.messages()


@pytest.fixture(scope="module")
def in_chinese(messages, tmp_path_factory) -> Path:
    "A catalogue in which every message has a translation."
    path = tmp_path_factory.mktemp("locale") / "zh_CN.po"
    file = polib.POFile(wrapwidth=0)
    file.extend(polib.POEntry(msgid=text, msgstr=translated(text)) for text in messages)
    file.save(str(path))
    return path


def test_an_update_keeps_what_is_translated(in_chinese, messages, tmp_path, capsys):
    path = tmp_path / "zh_CN.po"
    file = polib.pofile(str(in_chinese), wrapwidth=0)
    new, kept, *_ = messages
    file.remove(file.find(new))
    file.append(polib.POEntry(msgid="of yesterday", msgstr="昨天"))
    file.save(str(path))
    translate.update(path)
    entries = translate.entries(path)
    assert list(entries) == list(messages) and not entries[new].msgstr
    assert entries[kept].msgstr == translated(kept)
    assert [place for place, _ in entries[kept].occurrences] == messages[kept][1]
    said = capsys.readouterr().out
    assert "gone: of yesterday\n      昨天" in said and "1 of them new; 1 are empty" in said


def test_words_within_formulas_are_translated():
    say = {"rated": "评过", "by user": "，用户"}
    told = translate.said_in_formula(
        r"$$\sum_{v \text{ rated } i} \text{RMSE} \text{by user}$$", lambda text, kind: say[text]
    )
    assert told == r"$$\sum_{v \text{ 评过 } i} \text{RMSE} \text{，用户}$$"


def test_the_chinese_readme_says_the_same():
    texts = [(root / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")]
    code = [re.sub(r" *#.*", "", "".join(re.findall(r"```.*?```", t, re.S))) for t in texts]
    assert code[0] == code[1]
    prose = [re.sub(r"```.*?```|^\[(?:English|中文)\].*$", "", t, flags=re.S | re.M) for t in texts]
    assert not translate.altered(*prose)


def test_faults_of_a_catalogue_are_named(in_chinese, messages):
    entries = translate.entries(in_chinese)
    assert not list(translate.problems(messages, entries))
    absent, empty, fuzzy, *_ = messages
    del entries[absent]
    entries[empty].msgstr = ""
    entries[fuzzy].flags.append("fuzzy")
    entries["of yesterday"] = polib.POEntry(msgid="of yesterday", msgstr="昨天")
    *found, stale = translate.problems(messages, entries)
    assert [line.partition(":")[0] for line in found] == ["missing", "missing", "fuzzy"]
    for line, message in zip(found, (absent, empty, fuzzy), strict=True):
        assert f"{messages[message][1][0]}: {message!r}" in line
    assert stale == "stale: 'of yesterday'"


whole = "See `fit`, $R_{ui}$ and [it](a.ipynb#b) in @fig-a: 1,024 of 7 {{< x >}} <b>n</b> | %{y}"


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("code", "`fit`", "fit"),
        ("code", "`fit`", "`Fit`"),
        ("formula", "$R_{ui}$", "$R_{iu}$"),
        ("formula", "$R_{ui}$", ""),
        ("link", "a.ipynb#b", "a.ipynb"),
        ("link", "[it](a.ipynb#b)", "it"),
        ("label", "@fig-a", "@fig-a在"),
        ("label", "@fig-a", "fig-a"),
        ("number", "1,024", "1,042"),
        ("number", "of 7", "7 of 7"),
        ("placeholder", "{{< x >}}", ""),
        ("placeholder", "</b>", "<b>"),
        ("placeholder", "%{y}", "%{x}"),
        ("cell", " | ", " "),
    ],
)
def test_a_translation_that_lost_something_is_named(kind, old, new):
    entry = polib.POEntry(msgid=whole, msgstr=whole.replace(old, new))
    assert old in whole
    (found,) = translate.problems({whole: ("text", ["a.ipynb"])}, {whole: entry})
    assert found.startswith("altered: a.ipynb: ") and f": {kind}: lost" in found


def test_a_translation_may_have_another_order_and_say_code_again():
    said = (
        "7 中的 1024：@fig-a，见 [它](a.ipynb#b) 的 $R_{ui}$、`fit`，即 `fit`{{< x >}}<b></b>%{y}|"
    )
    assert not translate.altered(whole, said)


def test_blocks_of_markdown(monkeypatch):
    monkeypatch.setattr(translate, "linked", lambda: {"its-here-y_1"})
    text = """# Title {.unnumbered}

> A summary.

*A chapter.*

Two lines,
one text:

$$
\\text{some words} \\text{or}
$$

```python
none = 1

# nor here
```

::: {.note}
- An item
  of two lines
- `code`
1. Another
:::

## The `x` {.c}

## It's *here*, y_1

| a | word |
|:--|--:|
| 1.5 | `none` |

: A table. {#tbl-a tbl-colwidths="[1,2]"}
{{< embed a.ipynb#fig-a >}}
"""
    heard = []

    def say(message: str, kind: str) -> str:
        heard.append((message, kind))
        return f"«{message}»"

    said = translate.said_in_markdown(text, say)
    assert heard == [
        ("Title", "heading"),
        ("A summary.", "summary"),
        ("Two lines, one text:", "text"),
        ("some words", "formula"),
        ("An item of two lines", "item"),
        ("Another", "item"),
        ("The `x`", "heading"),
        ("It's *here*, y_1", "heading"),
        ("| a | word |", "row of a table"),
        ("A table.", "caption"),
    ]
    assert "## «It's *here*, y_1» {#its-here-y_1}\n" in said
    back = re.sub("[«»]| {#its-here-y_1}", "", said)
    assert back == text.replace("lines,\none", "lines, one").replace("item\n  of", "item of")


def test_words_of_tables_and_figures():
    table = "<table><th>fit (s)</th><th>R²</th><td>2 new users</td><td>The Ring, a film</td><td>1.5"
    shown = {"text/html": [table, "</td>"]}
    translate.said_in_output(shown, lambda message, _: f"译{message}&", {})
    assert "".join(shown["text/html"]) == (
        "<table><th>译fit (s)&amp;</th><th>R²</th><td>译2 new users&amp;</td>"
        "<td>The Ring, a film</td><td>1.5</td>"
    )
    data = '[{"name": "train", "y": ["Ring", "all, 9 users"], "x": [1, 2], "mode": "lines"}]'
    layout = '{"xaxis": {"title": {"text": "stars"}}, "template": {"name": "plain"}}'
    page = f'<div>Plotly.newPlot(\n "a",\n {data},  {layout},  {{"responsive": true}})</div>'
    shown, figures = {"text/html": page, "image/png": "old"}, {}
    translate.said_in_output(shown, lambda message, _: f"<{message}>", figures)
    (name,) = figures
    assert shown["image/png"] == name
    (data, layout), *_ = translate.figure_of("".join(shown["text/html"]))
    assert figures[name] == {"data": data, "layout": layout}
    assert data == [
        {"name": "<train>", "y": ["Ring", "<all, 9 users>"], "x": [1, 2], "mode": "lines"}
    ]
    assert layout["xaxis"]["title"]["text"] == "<stars>" and layout["template"]["name"] == "plain"
    assert '"responsive": true' in "".join(shown["text/html"])


def untranslated(name: str, folder: Path) -> list:
    "The code of a notebook without captions, and its outputs without figures and tables."
    cells = json.loads((folder / name).read_text())["cells"]
    found = []
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        text = "".join(cell["source"])
        if "#| hide" not in text:
            text = translate.option.sub(r"\1", text)
        data = [output.get("data", {}) for output in cell["outputs"]]
        pages = ["".join(bundle.pop("text/html", "")) for bundle in data]
        drawn = [bundle.pop("image/png", "") != "" for bundle in data]
        numbers = [re.findall(r">([-\d.,]+)</td>", page) for page in pages]
        found.append((text, cell["outputs"], numbers, drawn))
    return found


def test_the_copy_has_the_same_code_and_other_words(in_chinese, tmp_path, monkeypatch):
    monkeypatch.setattr(execute_notebooks, "pictures", lambda figures: dict.fromkeys(figures, "a"))
    translate.book(tmp_path / "zh", in_chinese)
    pages = translate.pages()
    assert len(pages) == len(set(pages)) and "nbs/neighbors/user_cf.ipynb" in pages
    for name in pages:
        text = (tmp_path / "zh" / name).read_text()
        assert "译" in text
        links = re.findall(r"\]\(([^()\s:]+\.(?:ipynb|qmd|html))(?:#[^()\s]*)?\)", text)
        for path in links:
            target = os.path.normpath(os.path.join(os.path.dirname(name), path))
            english = target.removeprefix("../").replace(".html", "")
            there = [root / f"{english}.{kind}" for kind in ("ipynb", "qmd")]
            assert target in pages or target.startswith("../") and any(map(Path.exists, there)), (
                path
            )
        if name.endswith(".ipynb"):
            assert untranslated(name, tmp_path / "zh") == untranslated(name, root)
    config = (tmp_path / "zh" / "_quarto.yml").read_text()
    assert "译 Predicting" in config and "nbs/metrics.ipynb" not in config


def test_no_copy_is_written_while_something_is_missing(in_chinese, tmp_path):
    file = polib.pofile(str(in_chinese), wrapwidth=0)
    file[3].msgstr = ""
    file.save(str(tmp_path / "a.po"))
    with pytest.raises(SystemExit, match="missing: .*\n.*1 entries"):
        translate.book(tmp_path / "zh", tmp_path / "a.po")
    assert not (tmp_path / "zh").exists()


def test_where_the_english_edition_is_published():
    settings = (root / "settings.ini").read_text()
    user, repo = (re.search(rf"^{name} = (.+)$", settings, re.M)[1] for name in ("user", "repo"))
    template = (root / "assets" / "typst-show.typ").read_text()
    assert f'#let site = "https://{user.lower()}.github.io/{repo}/"' in template


def test_pages_lead_to_the_other_edition(tmp_path):
    for name in ("index", "a/b", "room", "zh/index", "zh/a/b"):
        path = tmp_path / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<head></head><main id='x'>text</main>")
    for _ in range(2):
        translate.link(tmp_path)
    for name, language, place in [
        ("index", "zh-Hans", "zh/index.html"),
        ("a/b", "zh-Hans", "../zh/a/b.html"),
        ("room", "zh-Hans", "zh/index.html"),
        ("zh/index", "en", "../index.html"),
        ("zh/a/b", "en", "../../a/b.html"),
    ]:
        text = (tmp_path / f"{name}.html").read_text()
        assert re.findall(
            r'<a lang="([\w-]+)" rel="alternate" hreflang="([\w-]+)" href="(.+?)"', text
        ) == [(language, language, place)]
        assert text.count("<link ") == 1


# Text


part_one = [
    root / name
    for name in re.findall(
        r"- (\S+\.(?:qmd|ipynb))$",
        (root / "_quarto.yml").read_text().partition('part: "The machine rooms"')[0],
        re.M,
    )
]
pages = [*root.glob("*.qmd"), *notebooks]
captions = r'^#\| (?:fig|tbl)-(?:cap|subcap|alt): "(.*)"$'


def cells_in(path: Path) -> list[dict]:
    "The cells of a notebook; a page of Markdown is one."
    if path.suffix == ".qmd":
        return [{"cell_type": "markdown", "source": path.read_text(encoding="utf-8")}]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def written_in(path: Path) -> str:
    "What a page says in words: its Markdown, captions and alternative texts."
    texts = []
    for cell in cells_in(path):
        found = re.findall(captions, cell["source"], re.M)
        texts += [cell["source"]] if cell["cell_type"] == "markdown" else found
    return "\n\n".join(texts)


def without_code(text: str) -> str:
    "Markdown in which blocks of code and formulas end a paragraph, and short ones are a word."
    text = re.sub(r"^(```+)[^`\n]*\n.*?^\1$", "\n\n", text, flags=re.S | re.M)
    text = re.sub(r"\$\$.*?\$\$", "\n\n", text, flags=re.S)
    return re.sub(r"`[^`\n]+`|(?<!\\)\$[^$]+?(?<!\\)\$", "X", text)


def sentences(text: str) -> list[str]:
    "The sentences of Markdown, and its titles, items and cells of tables, which end like them."
    text = re.sub(r"\{\{<.*?>\}\}|\{[.#][^}]*\}|^:::.*$", "", without_code(text), flags=re.M)
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\|.*\|$", lambda row: row[0].replace("|", "\n\n"), text, flags=re.M)
    text = re.sub(r"^ *(?:[-*>:]|\d+\.|#+) ", "\n\n", text, flags=re.M)
    ends = r"(?:(?<=[.!?])|(?<=[.!?][*)\"”])|(?<=[.!?][*][*]))(?<!al\.)\s+(?=[*(\"“\[]*[A-Z0-9@])"
    parts = (part for block in re.split(r"\n\s*\n", text) for part in re.split(ends, block))
    return [" ".join(part.split()) for part in parts if re.search(r"\w", part)]


def words_in(sentence: str) -> list[str]:
    return [word for word in sentence.split() if re.search(r"\w", word)]


def avoided() -> list[str]:
    "The words that the glossary names as those not to use."
    table = (root / "glossary.qmd").read_text(encoding="utf-8").partition("## Not these")[2]
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table, re.M)[1:]
    return [word for row in rows for word in row.split(", ")]


def cited_in(text: str) -> set[str]:
    "Keys behind an @, of works and of figures."
    return set(re.findall(r"(?<![\w`])@([a-z][\w-]*)", without_code(text)))


def labels_in(path: Path) -> list[str]:
    labels = []
    for cell in cells_in(path):
        pattern = {"markdown": r"\{#((?:fig|tbl|sec|eq)-[\w-]+)", "code": r"^#\| label: (\S+)$"}
        labels += re.findall(pattern.get(cell["cell_type"], "$^"), cell["source"], re.M)
    return labels


def is_work(key: str) -> bool:
    return key.partition("-")[0] not in ("fig", "tbl", "sec", "eq")


def test_sentences_are_told_apart():
    text = (
        "## A title\n\nOne `a. B` and $x | y$ here, see [a link](a.B/c.ipynb). **Two.** Three (by"
        " @lim2007 et al. 2007) is\nlong: it\n\n$$x. Y$$\n\nends.\n\n- item one\n- item two\n"
        "\n| a | b. C |\n|:--|--:|\n\n```python\nx = 1. Y\n```\n\n: A caption. {#tbl-x}\n"
    )
    assert sentences(text) == [
        *("A title", "One X and X here, see a link.", "**Two.**"),
        *("Three (by @lim2007 et al. 2007) is long: it", "ends.", "item one", "item two"),
        *("a", "b.", "C", "A caption."),
    ]
    assert len(words_in("No word: – 1 |")) == 3


@pytest.mark.parametrize("path", [*part_one, root / "promises.qmd"], ids=name_of)
def test_prose_is_short_and_plain(path):
    told = sentences(written_in(path))
    assert len(told) > 10
    assert not [sentence for sentence in told if len(words_in(sentence)) > 40]
    assert len(avoided()) > 10
    homely = re.compile(rf"\b(?:{'|'.join(map(re.escape, avoided()))})\b", re.I)
    assert not [sentence for sentence in told if homely.search(sentence)]


def test_every_work_is_listed_and_cited():
    bibliography = (root / "assets" / "references.bib").read_text(encoding="utf-8")
    listed = re.findall(r"^@\w+\{(\S+),$", bibliography, re.M)
    assert len(listed) == bibliography.count("\n@") + 1 == len(set(listed))
    cited = {key for path in pages for key in cited_in(written_in(path)) if is_work(key)}
    assert cited == set(listed)


def test_labels_are_unique_and_references_have_one():
    labels = {path: labels_in(path) for path in pages}
    every = [label for found in labels.values() for label in found]
    assert every and len(set(every)) == len(every)
    referred = {path: {k for k in cited_in(written_in(path)) if not is_work(k)} for path in pages}
    lost = {name_of(path): referred[path] - set(labels[path]) for path in pages}
    assert not {name: keys for name, keys in lost.items() if keys}, "no such label on the page"
    unread = {name_of(path): set(labels[path]) - referred[path] for path in part_one}
    assert not {name: keys for name, keys in unread.items() if keys}, "no text refers to them"


@pytest.mark.parametrize("path", pages, ids=name_of)
def test_figures_and_tables_have_captions(path):
    for cell in cells_in(path):
        source, outputs = cell["source"], json.dumps(cell.get("outputs", ""))
        labels = re.findall(r"^#\| label: (\S+)$", source, re.M)
        assert all(label.startswith(("fig-", "tbl-")) for label in labels), labels
        options = [f'#| {label[:3]}-cap: "' for label in labels]
        if path in part_one and "plotly-graph-div" in outputs:
            options += ["#| label: fig-", '#| fig-cap: "', '#| fig-alt: "']
        assert not [option for option in options if option not in source], cell.get("id")
        if cell["cell_type"] == "markdown":
            for caption in re.findall(r"^(.*)\{#tbl-", source, re.M):
                assert re.match(r": \S", caption), caption


# After rendering


page_of_quarto = """<head>
<script src="../site_libs/quarto-html/quarto.js" type="module"></script>
<script src="../site_libs/quarto-html/tabsets/tabsets.js" type="module"></script>
<script src="../assets/plotly.min.js"></script>
<script src="https://cdn.jsdelivr.net/npm/requirejs@2.3.6/require.min.js" integrity="x"></script>
</head><body>text</body>"""
sidebar = '<a data-bs-toggle="collapse" role="navigation">x</a><th scope="col"></th><th>y</th>'


def test_a_page_has_plain_scripts_of_its_own():
    plain = '<head>\n<script src="../site_libs/quarto-html/quarto.js" defer></script>\n'
    assert stay_offline.plain_page(page_of_quarto) == plain + "</head><body>text</body>"
    told = stay_offline.plain_page(sidebar)
    assert told == '<a data-bs-toggle="collapse" role="button">x</a><td scope="col"></td><th>y</th>'
    figure = page_of_quarto.replace("text<", "Plotly.newPlot()<")
    assert "plotly.min.js" in stay_offline.plain_page(figure)


def test_a_wide_table_scrolls_by_itself():
    page = '<p>a</p><table class="caption-top table"><tr><td>b</td></tr></table>'
    told = stay_offline.plain_page(page)
    assert told == page.replace("<table", '<div class="scrolls"><table') + "</div>"
    frame = page.replace("caption-top", "dataframe")  # in a cell's output, which scrolls
    assert stay_offline.plain_page(frame) == frame


def test_scripts_of_another_quarto_are_refused(tmp_path):
    script = tmp_path / "site_libs" / "quarto-search" / "quarto-search.js"
    script.parent.mkdir(parents=True)
    script.write_text("await download(x)")
    (tmp_path / "search.json").write_text("[]")
    with pytest.raises(SystemExit, match="they have changed"):
        stay_offline.plain_search(tmp_path)


# Rendered


needs_quarto = pytest.mark.skipif(shutil.which("quarto") is None, reason="quarto is not on PATH")
widths = (1400, 380)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "Both editions, rendered from a copy as `make report` does it; some minutes."
    copy = tmp_path_factory.mktemp("book")
    for pattern in ("settings.ini", "*.yml", "*.qmd"):
        for path in root.glob(pattern):
            shutil.copy(path, copy)
    for name in ("assets", "nbs", "thu_big_data_ml"):
        shutil.copytree(root / name, copy / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"QUARTO_PYTHON": sys.executable, "PATH": path}
    recipe = (root / "Makefile").read_text().partition("\nreport:")[2].partition("\n\n")[0]
    commands = re.findall(r"^\t(?!@)(?:QUARTO_PYTHON=\S+ )?(.+)$", recipe, re.M)
    for command in commands:
        command = [sys.executable if word == "$(PY)" else word for word in command.split()]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    return copy / "_docs"


@pytest.fixture(scope="module")
def browser():
    "Debian's chromium, or Chrome under another name, driven by Playwright."
    driver = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    if not (found := next(filter(None, map(shutil.which, names)), None)):
        pytest.skip("no chromium on PATH")
    with driver.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


def open_page(browser, path: Path, width: int, scheme: str = "light") -> tuple:
    "A page opened from disk, what it asked of the network, and what it said on the console."
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda text: said.append(text.text) if text.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri(), wait_until="load")
    return page, [url for url in asked if not re.match("file:|data:|blob:|about:", url)], said


@needs_quarto
def test_every_page_is_there_and_loads_nothing_from_the_network(site):
    pages = list(site.rglob("*.html"))
    expected = [*notebooks, *root.glob("*.qmd"), *translate.pages()]
    assert len(pages) == len(expected)
    assert (site / "assets" / "plotly.min.js").exists()
    for path in pages:
        text = path.read_text(encoding="utf-8")
        loaded = r"<(script|img|iframe)[^>]+src=\"https?:|<link[^>]+stylesheet[^>]+href=\"https?:"
        assert not re.search(loaded, text), path
        assert 'type="module"' not in text and "Traceback" not in text, path
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?https?:", path.read_text()), path


@needs_quarto
@pytest.mark.parametrize("width", widths)
def test_pages_open_from_disk(site, browser, width):
    wrong = {}
    for path in sorted(site.rglob("*.html")):
        page, asked, said = open_page(browser, path, width)
        wide = page.evaluate("document.documentElement.scrollWidth") - width
        drawn = page.evaluate(
            "[...document.querySelectorAll('.plotly-graph-div')]"
            ".every(figure => figure.querySelector('.main-svg'))"
        )
        if asked or said or wide > 0 or not drawn:
            wrong[str(path.relative_to(site))] = (asked, said, wide, drawn)
        page.context.close()
    assert not wrong


@needs_quarto
def test_every_page_leads_to_the_other_edition_and_back(site):
    def editions(path: Path) -> tuple:
        text = path.read_text(encoding="utf-8")
        shown = (
            r'<p class="edition"><a lang="([\w-]+)" rel="alternate" hreflang="\1" href="([^"]+)"'
        )
        ((other, place),) = re.findall(shown, text)
        return (
            re.search(r'<html [^>]*\blang="([\w-]+)"', text)[1],
            other,
            (path.parent / place).resolve(),
        )

    for path in site.rglob("*.html"):
        chinese = path.is_relative_to(site / "zh")
        own, other, target = editions(path)
        assert (own, other) == (("zh-Hans", "en") if chinese else ("en", "zh-Hans")), path
        assert editions(target)[:2] == (other, own), path
        if chinese:
            assert editions(target)[2] == path.resolve()
    for path in (site / "zh").rglob(
        "*.html"
    ):  # links to machine rooms lead into the English edition
        for place in re.findall(r'href="(\.\./[^"#?]+)', path.read_text(encoding="utf-8")):
            assert (path.parent / place).exists(), (path, place)


@needs_quarto
@pytest.mark.parametrize("width", widths)
@pytest.mark.parametrize(
    ("name", "other"), [("zh/index", "index"), ("nbs/data/ratings", "zh/nbs/data/ratings")]
)
def test_the_link_to_the_other_edition_can_be_clicked(site, browser, width, name, other):
    page, *_ = open_page(browser, site / f"{name}.html", width)
    page.click(".edition a", timeout=5000)
    page.wait_for_url((site / f"{other}.html").as_uri())
    page.context.close()


@needs_quarto
@pytest.mark.parametrize("width", widths)
@pytest.mark.parametrize(
    ("name", "word", "found"),
    [("nbs/metrics", "calibration", "metrics.html"), ("zh/index", "评分", "ratings.html")],
)
def test_search_finds_a_word_from_disk(site, browser, width, name, word, found):
    page, asked, said = open_page(browser, site / f"{name}.html", width)
    if width < 1000:
        page.click(".quarto-search-button")
    else:
        page.click(".aa-Input")
    page.keyboard.type(word)
    page.wait_for_selector(f".aa-Panel a[href*='{found}']")
    assert not asked and not said
    page.context.close()


@needs_quarto
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(site, browser, scheme):
    paths = subprocess.run(["quarto", "--paths"], capture_output=True, text=True).stdout.split()
    axe = [file for path in paths for file in Path(path).glob("formats/html/axe/axe.min.js")]
    if not axe:
        pytest.skip("this quarto has no axe")
    listed = re.findall(r"nbs/\S+\.ipynb", (root / "_quarto.yml").read_text())
    chosen = ["index", "glossary", *(name[:-6] for name in listed[:9]), "nbs/functions"]
    wrong = {}
    chosen += ["nbs/data/layouts", "nbs/bayesian/gibbs", "zh/index", "zh/nbs/neighbors/user_cf"]
    for name in chosen:
        page, *_ = open_page(browser, site / f"{name}.html", widths[0], scheme)
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
        page.add_script_tag(path=axe[0])
        for found in page.evaluate("axe.run({ preload: false })")["violations"]:
            places = [node["target"] for node in found["nodes"]]
            wrong.setdefault(found["id"], []).append((name, len(places), places[:2]))
        page.context.close()
    assert not wrong


@needs_quarto
@pytest.mark.skipif(shutil.which("pdfinfo") is None, reason="poppler is not on PATH")
@pytest.mark.parametrize(
    ("edition", "contents", "fewest", "most"),
    [(".", "Contents", 100, 400), ("zh", "目录", 40, 160)],
)
def test_the_pdf(site, edition, contents, fewest, most):
    (pdf,) = (site / edition).glob("*.pdf")
    names = translate.pages() if edition == "zh" else notebooks

    def told(*command):
        done = subprocess.run([*command, pdf], capture_output=True, text=True)
        return done.stdout.splitlines()

    pages = next(int(line.split()[1]) for line in told("pdfinfo") if line.startswith("Pages:"))
    assert fewest < pages < most
    fonts = [line.split()[-5] for line in told("pdffonts")[2:]]
    assert fonts and set(fonts) == {"yes"}, "a font is not embedded"
    books = [json.loads((root / n).read_text()) for n in names if str(n).endswith(".ipynb")]
    code = [cell for book in books for cell in book["cells"]]
    figures = sum("image/png" in out.get("data", {}) for c in code for out in c.get("outputs", []))
    assert len(told("pdfimages", "-list")) - 2 >= figures
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True).stdout
    assert "\ufffd" not in text and "\\_" not in text.partition(contents)[0]
    assert contents in text
