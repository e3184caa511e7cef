"""The Chinese edition: what there is to translate, and a copy of the book in Chinese.

Usage: python assets/translate.py update        entries new in the book, and none that are gone
       python assets/translate.py check         name what is missing, stale, fuzzy or altered
       python assets/translate.py book FOLDER   write the copy that Quarto renders as `zh`
       python assets/translate.py link SITE     put links between the rendered editions

The catalogue is nbs/locale/zh_CN.po. An entry is a heading, a paragraph, an item of a list or a row
of a table of the first part and its appendices; words within a formula; a caption, or a text for
those who do not see a figure; a word of a figure, or a heading or word of a table, in a stored
output. Code, formulas and numbers stay; in what is said of an output `#` stands for a number. What
has no other name, such as a library, is its own translation; a movie's title in an output is no
entry.

What reads the book is what writes the copy: each function here is given `say`, which gets a message
and its kind, and returns what stands in its place.
"""

import argparse
import html
import json
import posixpath
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache, partial
from pathlib import Path

import polib
import yaml

from thu_big_data_ml._files_and_devices import write_whole

Say = Callable[[str, str], str]
root = Path(__file__).resolve().parents[1]
catalogue = root / "nbs" / "locale" / "zh_CN.po"
appendices = ("glossary.qmd", "references.qmd")

# Markdown: blocks that stay, the marks before a text, and texts up to the next block
fence = r"(?P<fence>`{3,}|~{3,})[^\n]*\n(?:[\s\S]*?\n)?[ \t]*(?P=fence)[ \t]*$"
alone = (
    rf"{fence}|\$\$[\s\S]*?\$\$[^\n]*$|:::[^\n]*$|\{{\{{<[^\n]*>\}}\}}[ \t]*$|\|[-:| ]+\|[ \t]*$"
    r"|\*An? (?:chapter|machine room|appendix)\.\*$"
)
lead = r"(?:\#{1,6} +|[-*+] +|\d+[.)] +|> ?|: +|\[\^[^\]\n]+\]: +)"
begins = rf"[ \t]*(?:$|{lead}|\||`{{3}}|~{{3}}|\$\$|:::|\{{\{{<)"
block = re.compile(
    rf"^[ \t]*(?:{alone})|^(?P<lead>[ \t]*{lead}*)(?P<text>\S[^\n]*(?:\n(?!{begins})[^\n]+)*)$",
    re.M,
)
attributes = re.compile(r"([\s\S]*?)([ \t]*\{[^{}]*\})?")
option = re.compile(r"^(#\|[ \t]*(?:fig|tbl)-(?:cap|alt):[ \t]*)(.+)$", re.M)
cell_of_table = re.compile(r"(<t([hd])\b[^>]*>)([^<>]+)(?=</t\2>)")

# what a translation must have as the message has it
kept = {
    "code": re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)"),
    "formula": re.compile(r"\$(?!\s)(?:\\.|[^$\\])+?(?<!\s)\$(?!\d)"),
    "placeholder": re.compile(r"\{\{<.*?>\}\}|%\{[^}]*\}|</?\w[^<>]*>|\{[#.][^{}]*\}"),
    "link": re.compile(r"\]\(([^()\s]+)[^()]*\)"),
    "label": re.compile(r"@[a-zA-Z][\w:-]*\w"),
    "number": re.compile(r"\d+(?:[.,]\d+)*"),
    "number of an output": re.compile("#"),
    "cell": re.compile(r"\|"),
}


units = {"thousand": 3, "million": 6, "billion": 9, "万": 4, "亿": 8}
amount = re.compile(rf"(\d+(?:[.,]\d+)*)(?: *({'|'.join(units)}))?")


def value(found: re.Match) -> str:
    "A number as it is compared: 6.9 million is 690 万."
    number = Decimal(found[1].replace(",", "")).scaleb(units.get(found[2], 0))
    return format(number.normalize(), "f")


def of_each_kind(text: str) -> dict[str, Counter]:
    "What must survive translation, taken out of a text kind by kind; and the words that are left."
    found = {}
    for kind, pattern in kept.items():
        if kind == "number":
            found[kind] = Counter(map(value, amount.finditer(text)))
        else:
            found[kind] = Counter(part[0] for part in pattern.finditer(text))
        text = pattern.sub("] " if kind == "link" else " ", text)
    return found | {"words": Counter(re.findall(r"[^\W\d_]{2,}", text))}


def altered(message: str, translation: str) -> list[str]:
    "What a translation has lost or added."
    before, after = of_each_kind(message), of_each_kind(translation)
    found = []
    for kind in kept:
        many = kind in ("code", "formula")  # these may be said again, or once for twice
        old, new = before[kind], after[kind]
        if (set(old) != set(new)) if many else (old != new):
            lost, added = sorted((old - new).keys()), sorted((new - old).keys())
            found.append(f"{kind}: lost {lost}, added {added}")
    return found


# Markdown


def anchor(title: str) -> str:
    "The name that Pandoc gives a heading, so that links to it stay good."
    text = re.sub(r"\]\([^)]*\)|\[|\]", "", title).lower()
    text = "-".join(re.sub(r"[^\w\s.-]", "", text).split())
    return re.sub(r"^[^a-z]+", "", text) or "section"


@cache
def linked() -> set[str]:
    "The places within pages that links lead to."
    files = [root / name for name in pages()]
    texts = [path.read_text(encoding="utf-8") for path in files]
    return {place for text in texts for place in re.findall(r"\]\([^()\s]*#([^()\s]+)\)", text)}


def said_in_formula(text: str, say: Say) -> str:
    "A block that stays, but for the words in a formula of its own line."
    if not text.lstrip().startswith("$$"):
        return text
    words = re.compile(r"(?<=\\text\{)( *)([^{}]*?[a-z]{3}[^{}]*?)( *)(?=\})")
    return words.sub(lambda part: part[1] + say(part[2], "formula") + part[3], text)


def said_in_markdown(text: str, say: Say) -> str:
    "Markdown with another text in each of its blocks."

    def replace(found: re.Match) -> str:
        if found["text"] is None:
            return said_in_formula(found[0], say)
        head, message, tail = found["lead"], found["text"].rstrip(), ""
        mark = head.strip()[:1]
        if mark in ("#", ":"):
            message, tail = attributes.fullmatch(message).groups(default="")
        message = re.sub(r"(?<!\\)\s*\n\s*", " ", message)
        if mark == "#" and anchor(message) in linked() and not tail:
            tail = f" {{#{anchor(message)}}}"
        if not of_each_kind(message)["words"]:
            return head + message + tail
        kinds = {"#": "heading", ":": "caption", "": "text", ">": "summary"}
        kind = "row of a table" if message.startswith("|") else kinds.get(mark, "item")
        return head + say(message, kind) + tail

    return block.sub(replace, text)


# Stored outputs


def is_label(text: str) -> bool:
    "Whether a heading or a name of a line has words; those of code are none."
    return bool(re.search(r"(?<![\w.])[a-z]{2,}\b(?![_.(])", text))


def is_word(text: str) -> bool:
    "Whether a cell or a point says words; a movie's title has a capital letter, a model may have."
    title = re.match(r"[^A-Za-z]*(?!U V|[A-Z]{2,}, )[A-Z][a-z]*\b", text)
    return is_label(text) and not title


def instead(text: str, wanted: Callable, say: Say, kind: str) -> str:
    "Another text between the same spaces, if it has words; each number is `#` in the message."
    message = text.strip()
    if not wanted(message):
        return text
    numbers = iter([] if "#" in message else kept["number"].findall(message))
    said = say(kept["number"].sub("#", message) if "#" not in message else message, kind)
    return text.replace(message, re.sub("#", lambda sign: next(numbers, sign[0]), said))


def said_in_figure(part, say: Say, key: str = "", many: bool = False):
    "What a figure draws, with other words; `key` says what a text is."
    if isinstance(part, dict):
        return {k: v if k == "template" else said_in_figure(v, say, k) for k, v in part.items()}
    if isinstance(part, list):
        return [said_in_figure(item, say, key, True) for item in part]
    if not isinstance(part, str):
        return part
    if key in ("text", "name", "title", "hovertemplate") and not many:
        return instead(part, is_label, say, "figure")
    if key in ("text", "x", "y", "labels", "ticktext", "categoryarray"):
        return instead(part, is_word, say, "figure")
    return part


def figure_of(page: str) -> tuple[list, int, int] | None:
    "Data and layout of a stored Plotly figure, and where they stand."
    call = re.search(r'Plotly\.newPlot\(\s*"[^"]*",\s*', page)
    if not call:
        return None
    parts, end = [], call.end()
    for _ in range(2):
        part, end = json.JSONDecoder().raw_decode(page, end)
        parts.append(part)
        end = re.compile(r"[\s,]*").match(page, end).end()
    return parts, call.end(), end


def said_in_output(data: dict, say: Say, figures: dict):
    "A stored output with other words; a figure that was changed waits in `figures` to be drawn."
    page = "".join(data.get("text/html", ""))
    if found := figure_of(page):
        parts, start, end = found
        new = said_in_figure(parts, say)
        if new == parts:
            return
        new[1].setdefault("font", {})["family"] = "Noto Sans CJK SC, PingFang SC, sans-serif"
        text = ", ".join(json.dumps(part, ensure_ascii=False) for part in new)
        for sign in "<>&":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        page = f"{page[:start]}{text}, {page[end:]}"
        data["image/png"] = f"figure-{len(figures)}"
        figures[data["image/png"]] = {"data": new[0], "layout": new[1]}
    elif "<table" in page:

        def replace(found: re.Match) -> str:
            wanted = is_label if found[2] == "h" else is_word
            text = instead(html.unescape(found[3]), wanted, say, "table")
            return found[1] + html.escape(text, quote=False)

        page = cell_of_table.sub(replace, page)
    data |= {"text/html": page.splitlines(keepends=True)} if page else {}


# Pages


def said_in_notebook(notebook: dict, say: Say) -> dict:
    "A notebook in place: its prose, its captions and the words of its stored outputs."
    figures, bundles = {}, []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = said_in_markdown(text, say).splitlines(keepends=True)
        elif cell["cell_type"] == "code" and not re.search(r"^#\|[ \t]*hide\b", text, re.M):
            cell["source"] = option.sub(partial(said_in_option, say), text).splitlines(True)
            for output in cell["outputs"]:
                said_in_output(output.get("data", {}), say, figures)
                bundles.append(output.get("data", {}))
    draw(figures, bundles)
    return notebook


def said_in_option(say: Say, found: re.Match) -> str:
    "A caption of a cell with code."
    text = yaml.safe_load(found[2])
    kind = "alternative text" if "alt:" in found[1] else "caption"
    return found[1] + json.dumps(say(text, kind), ensure_ascii=False)


def draw(figures: dict, bundles: list[dict]):
    "The pictures of changed figures, anew, for the PDF."
    if not figures:
        return
    import plotly.graph_objects as go
    from execute_notebooks import pictures

    drawn = pictures({name: go.Figure(figure) for name, figure in figures.items()})
    if not drawn:
        sys.exit("translate.py: no figure can be drawn in Chinese without a Chromium.")
    for data in bundles:
        if data.get("image/png") in drawn:
            data["image/png"] = drawn[data["image/png"]]


def parts_of(config: dict) -> tuple[list[str], dict]:
    "The pages before the first part, and that part."
    chapters = config["book"]["chapters"]
    first = next(n for n, chapter in enumerate(chapters) if isinstance(chapter, dict))
    return chapters[:first], chapters[first]


def appendices_of(config: dict) -> list[str]:
    "The appendices that the edition has."
    return [name for name in config["book"]["appendices"] if name in appendices]


def said_in_config(config: dict, say: Say) -> dict:
    "The book's configuration: its title, and of its pages those of the edition."
    before, part = parts_of(config)
    said = {name: say(config["book"][name], "title") for name in ("title", "subtitle", "author")}
    part = part | {"part": say(part["part"], "title")}
    return config | {
        "book": config["book"]
        | said
        | {"chapters": [*before, part], "appendices": appendices_of(config)}
    }


def configuration() -> dict:
    return yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))


def pages() -> list[str]:
    "The pages that the edition has, in the order of the book."
    before, part = parts_of(configuration())
    return [*before, *part["chapters"], *appendices_of(configuration())]


def said_in_page(name: str, say: Say) -> str:
    "The text of a page's file."
    text = (root / name).read_text(encoding="utf-8")
    if name.endswith(".qmd"):
        return said_in_markdown(text, say)
    notebook = said_in_notebook(json.loads(text), say)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


# The catalogue


def messages() -> dict[str, tuple[str, list[str]]]:
    "What there is to translate: of each message its kind and the pages that have it."
    found = {}

    def heard(page: str, message: str, kind: str) -> str:
        places = found.setdefault(message, (kind, []))[1]
        if page not in places:
            places.append(page)
        return message

    said_in_config(configuration(), partial(heard, "_quarto.yml"))
    for name in pages():
        said_in_page(name, partial(heard, name))
    return found


def entries(path: Path) -> dict[str, polib.POEntry]:
    "The entries of a catalogue by their messages."
    return {entry.msgid: entry for entry in polib.pofile(str(path))} if path.exists() else {}


def update(path: Path = catalogue):
    "Write the catalogue anew: entries of today's book, with the translations that there were."
    old, book = entries(path), messages()
    file = polib.POFile(wrapwidth=0)
    file.metadata = {
        "Language": "zh_CN",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
    }
    for message, (kind, places) in book.items():
        entry = old.get(message) or polib.POEntry(msgid=message)
        entry.comment, entry.occurrences = kind, [(place, "") for place in places]
        file.append(entry)
    path.parent.mkdir(exist_ok=True)
    with write_whole(path) as unfinished:
        unfinished.write_text(f"{file}\n", encoding="utf-8")
    for message in old.keys() - book.keys():
        print(f"gone: {message}\n      {old[message].msgstr}")
    empty = sum(not entry.msgstr for entry in file)
    print(f"{len(file)} entries, {len(book.keys() - old.keys())} of them new; {empty} are empty.")


def problems(book: dict, known: dict[str, polib.POEntry]) -> Iterator[str]:
    "What is wrong with a catalogue for this book, a line each."
    for message, (_, places) in book.items():
        where, entry = f"{places[0]}: {message!r}", known.get(message)
        if entry is None or not entry.msgstr:
            yield f"missing: {where}"
        elif entry.fuzzy:
            yield f"fuzzy: {where}"
        elif differences := altered(message, entry.msgstr):
            yield f"altered: {where}: {'; '.join(differences)}"
    yield from (f"stale: {message!r}" for message in known.keys() - book.keys())


def check(path: Path = catalogue):
    "Name what is wrong with the catalogue, if anything is."
    if found := list(problems(messages(), entries(path))):
        sys.exit(
            "\n".join([*found, f"translate.py: {len(found)} entries are not as they should be."])
        )


# The copy


def beside(page: str, here: list[str], text: str) -> str:
    "Links to pages that the edition has not lead to those of the English one, a folder above."

    def replace(found: re.Match) -> str:
        path, sign, place = found[1].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        if target in here or not (root / target).is_file():
            return found[0]
        above = "../" * (1 + page.count("/"))
        return f"]({above}{posixpath.splitext(target)[0]}.html{sign}{place}"

    return re.sub(r"\]\(([^()\s:]+\.(?:ipynb|qmd)(?:#[^()\s]*)?)", replace, text)


def book(folder: Path, path: Path = catalogue):
    "Write the book in Chinese into a folder, for `quarto render FOLDER --profile zh`."
    check(path)
    known, here = entries(path), pages()

    def said(page: str, message: str, kind: str) -> str:
        return beside(page, here, known[message].msgstr)

    uncopied = shutil.ignore_patterns("__pycache__", "plotly.min.js", "answer.ipynb")
    shutil.copytree(root / "assets", folder / "assets", ignore=uncopied, dirs_exist_ok=True)
    shutil.copy(root / "_quarto-zh.yml", folder)
    config = said_in_config(configuration(), partial(said, "_quarto.yml"))
    texts = {"_quarto.yml": yaml.safe_dump(config, allow_unicode=True, sort_keys=False)}
    texts |= {name: said_in_page(name, partial(said, name)) for name in here}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


# After rendering


def link(site: Path):
    "On each page a link to the same one of the other edition, or to where that begins."
    for path in site.rglob("*.html"):
        name, text = path.relative_to(site).as_posix(), path.read_text(encoding="utf-8")
        if name.startswith("zh/"):
            language, title, other = "en", "English", name.removeprefix("zh/")
        else:
            language, title, other = "zh-Hans", "中文", f"zh/{name}"
            other = other if (site / other).exists() else "zh/index.html"
        place = posixpath.relpath(other, posixpath.dirname(name) or ".")
        where = f'hreflang="{language}" href="{place}"'
        shown = f'<p class="edition"><a lang="{language}" rel="alternate" {where}>{title}</a></p>'
        if 'class="edition"' not in text:
            text = text.replace("</head>", f'<link rel="alternate" {where}>\n</head>', 1)
            text = re.sub(r"<main\b[^>]*>", rf"\g<0>\n{shown}", text, count=1)
            with write_whole(path) as unfinished:
                unfinished.write_text(text, encoding="utf-8")


def main():
    "What the command line asks for."
    parser = argparse.ArgumentParser(description="The Chinese edition of the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (update, check, book, link):
        known = commands.add_parser(command.__name__, help=command.__doc__)
        known.set_defaults(run=command)
        if command in (book, link):
            known.add_argument("place", type=Path)
        if command is not link:
            known.add_argument("--catalogue", dest="path", type=Path, default=catalogue)
    options = vars(parser.parse_args())
    run, options = options["run"], {k: v for k, v in options.items() if k in ("place", "path")}
    run(*([options.pop("place")] if "place" in options else []), **options)


if __name__ == "__main__":
    main()
