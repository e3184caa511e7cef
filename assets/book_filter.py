"""A notebook as a page of the book, for Quarto's `ipynb-filters`: from stdin to stdout.

It reads the code and runs nothing. What a reader sees of a cell with code:

    mark       in a chapter                       in a machine room
    none       code and outputs; more than a      code and outputs
               few lines that make a table or
               a figure are folded in HTML, and
               the PDF has what they make
    exports    code without docstrings; HTML      the same
               has the documentation below it
    export     HTML: documentation and source,    the same; the PDF has a line for each
               folded; the PDF has nothing        public name, its signature and summary
    hide       nothing                            nothing

Cells that only import are dropped, and so are the line that says a notebook's kind and the marks of
nbdev. Quarto's options (`#| label: ...`) stay.
"""

import ast
import io
import json
import re
import sys
import textwrap
import tokenize
from functools import cache
from html import escape
from pathlib import Path

import griffe

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
mark = re.compile(r"^#\|[ \t]*([\w-]+)(?=([ \t]*:)?)[^\n]*\n?", re.M)
FEW_LINES = 5
kind_line = re.compile(r"^\*An? (chapter|machine room|appendix)\.\*\n*", re.M)
marked = re.compile(  # in a docstring: reStructuredText's code and emphasis, a formula, an address
    r"``(.+?)``|`([^`]+)`|(?<![\w*])\*(?! )([^*]+)(?<! )\*(?![\w*])"
    r"|(\$(?! )[^$`]+(?<! )\$(?!\d))|(https?://[^\s,;)]*[^\s,;.)])"
)


# Markdown of docstrings


def escaped(text: str) -> str:
    "Text in which Markdown finds nothing to interpret."
    return re.sub(r"([\\`*_$|<>\[\]{}#@^~\"]|(?<=-)-|^[-+:](?= )|(?<=^\d)[.)])", r"\\\1", text)


def code(text: str) -> str:
    "Text as code within a line; backticks in it need a longer fence."
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def inline(text: str) -> str:
    "A paragraph of a docstring: code, emphasis, formulas and addresses; the rest as it stands."
    found, end = [], 0
    for part in marked.finditer(text):
        found.append(escaped(text[end : part.start()]))
        literal, name, emphasis, formula, address = part.groups()
        if literal or name:
            found.append(code(literal or name))
        else:
            found.append(f"*{escaped(emphasis)}*" if emphasis else formula or f"<{address}>")
        end = part.end()
    return "".join(found) + escaped(text[end:])


def block(source: str) -> str:
    "Python code as a block."
    return f"````python\n{source.strip(chr(10))}\n````"


def prose(text: str) -> str:
    "Paragraphs, lists and indented code of a docstring."
    found = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if re.match(" {4}", paragraph):
            found.append(block(textwrap.dedent(paragraph)))
        elif re.match(r"\s*[-*] ", paragraph):
            items = re.split(r"^\s*[-*] ", paragraph, flags=re.M)[1:]
            found.append("\n".join(f"- {inline(' '.join(item.split()))}" for item in items))
        elif paragraph.strip():
            found.append(inline(" ".join(paragraph.split())))
    return "\n\n".join(found)


def entry(name: str, kind: str, description: str) -> str:
    "An entry of a definition list."
    head = " ".join([code(name)] * bool(name) + [f"[{escaped(kind)}]{{.doc-type}}"] * bool(kind))
    return f"{head}\n:   {textwrap.indent(prose(description) or '.', '    ').lstrip()}"


def titled(title: str, entries: list[str]) -> list[str]:
    "A title and a definition list, if there is anything to list."
    return [f"[{title}]{{.doc-section}}", "\n\n".join(entries)] if entries else []


def section(part) -> list[str]:
    "A section of a numpydoc docstring, as griffe tells it."
    kind, value = part.kind.value, part.value
    if kind == "text":
        return [prose(value)]
    if kind == "examples":
        said = [block(text) if what.value == "examples" else prose(text) for what, text in value]
        return ["[Examples]{.doc-section}", *said]
    if kind == "admonition":
        others = re.findall(r"^(\S+) : (.+(?:\n[ \t]+.+)*)", value.contents, re.M)
        if part.title == "See Also" and others:
            return titled("See also", [entry(name, "", text) for name, text in others])
        return [f"[{part.title}]{{.doc-section}}", prose(value.contents)]
    entries = []
    for item in value:
        default = [f"default {item.value}"] if getattr(item, "value", None) else []
        kinds = [str(item.annotation)] if item.annotation else []
        name = getattr(item, "name", None) or ""
        entries.append(entry(name, ", ".join(kinds + default), item.description))
    return titled(kind.capitalize(), entries)


def sections(docstring: str) -> list[str]:
    "A docstring as Markdown, without its summary."
    below = docstring.partition("\n\n")[2]
    parts = griffe.Docstring(below).parse("numpy", warnings=False)
    return [text for part in parts for text in section(part)]


def summary(node: Definition) -> str:
    "The first paragraph of a docstring, in one line."
    return inline(" ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split()))


# What a definition says by itself


@cache
def lines_in(source: str) -> list[str]:
    return source.split("\n")


def written(node: ast.AST, source: str) -> str:
    "An expression as it is written, in one line."
    if node.lineno < node.end_lineno:
        return " ".join(ast.get_source_segment(source, node).split())
    line = lines_in(source)[node.lineno - 1].encode()
    return line[node.col_offset : node.end_col_offset].decode()


def is_public(node: ast.stmt) -> bool:
    return isinstance(node, Definition) and not node.name.startswith("_")


def arguments(node: Function, source: str, typed: bool) -> list[str]:
    "The arguments as they are written, but for self; without their types on demand."
    given = node.args

    def said(argument: ast.arg, default: ast.expr | None = None, star: str = "") -> str:
        typing = argument.annotation if typed else None
        kind = f": {written(typing, source)}" if typing else ""
        value = f"={written(default, source)}" if default else ""
        return star + argument.arg + kind + (value.replace("=", " = ", 1) if kind else value)

    plain = given.posonlyargs + given.args
    defaults = [None] * (len(plain) - len(given.defaults)) + given.defaults
    found = [said(*pair) for pair in zip(plain, defaults, strict=True)]
    if given.posonlyargs:
        found.insert(len(given.posonlyargs), "/")
    if given.vararg or given.kwonlyargs:
        found.append(said(given.vararg, star="*") if given.vararg else "*")
    found += [said(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    found += [said(given.kwarg, star="**")] if given.kwarg else []
    return found[1:] if found and re.match("(self|cls)$", found[0]) else found


def constructor(node: Definition) -> Function | None:
    "The function that is called: of a class its constructor."
    made = [n for n in node.body if isinstance(n, Function) and n.name == "__init__"]
    return node if isinstance(node, Function) else made[0] if made else None


def signature(node: Definition, source: str, typed: bool = True) -> str:
    "A definition as one calls it; long ones have a line for each argument."
    called = constructor(node)
    if not called:
        bases = [written(base, source) for base in node.bases]
        return node.name + (f"({', '.join(bases)})" if bases and typed else "")
    if any(getattr(n, "id", "") in ("property", "cached_property") for n in node.decorator_list):
        return node.name
    given, back = arguments(called, source, typed), getattr(called, "returns", None)
    known = back and typed and isinstance(node, Function)
    end = f") -> {written(back, source)}" if known else ")"
    line = f"{node.name}({', '.join(given)}{end}"
    if len(line) <= 80 or not typed:
        return line
    return "\n".join([f"{node.name}(", *[f"    {argument}," for argument in given], end])


@cache
def remarks(source: str) -> dict[int, str]:
    "The comments, by their line; those that have lines of their own go with the line below them."
    found, above = {}, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            if token.line.lstrip().startswith("#"):
                above += f" {text}"
            else:
                found[token.start[0]] = text
        elif token.type not in (tokenize.NL, tokenize.NEWLINE) and above:
            found.setdefault(token.start[0], above.strip())
            above = ""
    return found


def commented(node: Definition, source: str) -> list[str]:
    "Entries for arguments, fields and the result that comments describe, as nbdev's docments do."
    notes, found = remarks(source), []
    if isinstance(node, ast.ClassDef):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        said = [(n.target.id, n.annotation, notes.get(n.lineno)) for n in fields]
        found += titled("Fields", entries_of(said, source))
    if called := constructor(node):
        given = called.args
        every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
        said = [(a.arg, a.annotation, notes.get(a.end_lineno)) for a in every if a]
        several = len({a.lineno for a in every if a}) == sum(a is not None for a in every)
        found += titled("Parameters", entries_of(said, source) if several else [])
        back = called.returns
        if back and back.lineno > called.lineno and back.end_lineno in notes:
            found += titled("Returns", entries_of([("", back, notes[back.end_lineno])], source))
    return found


def entries_of(said: list, source: str) -> list[str]:
    "Entries of (name, type, comment), for those with a comment."
    kinds = [kind and written(kind, source) or "" for _, kind, _ in said]
    return [entry(name, kind, note) for (name, _, note), kind in zip(said, kinds) if note]


def lines_of(node: ast.stmt) -> range:
    "The lines of a statement with its decorators, from 1."
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    return range(first, node.end_lineno + 1)


def without_docstrings(source: str) -> str:
    "Code without its docstrings; what has no other body has `...`."
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition) and ast.get_docstring(node) is not None:
            text = node.body[0]
            kept = f"{' ' * text.col_offset}..." if len(node.body) == 1 else None
            lines[text.lineno - 1] = kept
            lines[text.lineno : text.end_lineno] = [None] * (text.end_lineno - text.lineno)
            following = node.body[1].lineno - 1 if node.body[1:] else text.end_lineno
            for n in range(text.end_lineno, following):
                lines[n] = lines[n] if lines[n].strip() else None
    return "\n".join(line for line in lines if line is not None)


# Pages


def folded(head: str, body: list[str], attributes: str = "") -> list[str]:
    "A part of a page that opens on a click."
    return [f"<details{attributes}><summary>{head}</summary>", *body, "</details>"]


def head_of(name: str, kind: str, said: str) -> str:
    "The line of a folded documentation: the name as code, and the summary."
    return f'<span class="doc-kind">{kind}</span> {code(name)} [{said}]{{.doc-summary}}'


def documentation(node: Definition, source: str, method: bool = False) -> list[str]:
    "What HTML shows of a public function or class: signature, docstring, methods, but no source."
    kind = "class" if isinstance(node, ast.ClassDef) else "method" if method else "function"
    text = sections(ast.get_docstring(node) or "")
    known = any("{.doc-section}" in part for part in text)
    body = [block(signature(node, source)), *text, *([] if known else commented(node, source))]
    if kind == "class":
        methods = [n for n in node.body if isinstance(n, Function) and is_public(n)]
        body += [part for n in methods for part in documentation(n, source, method=True)]
        return body
    return folded(head_of(node.name, kind, summary(node)), body, ' class="doc"') if method else body


def documented(node: Definition, source: str, shown: bool) -> list[str]:
    "The folded documentation of a public name, with its source where no cell shows it."
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    lines = "\n".join(lines_in(source)[n - 1] for n in lines_of(node))
    body = documentation(node, source)
    body += [] if shown else folded("Source", [block(lines)], ' class="doc-source"')
    head = head_of(node.name, kind, summary(node))
    return folded(head, body, f' class="doc" id="doc-{node.name}"')


def helpers(tree: ast.Module, source: str) -> list[str]:
    "What a cell has beside public names and imports, folded under one line."
    taken = [n for n in tree.body if is_public(n) or isinstance(n, ast.Import | ast.ImportFrom)]
    gone = {number for n in taken for number in lines_of(n)}
    lines = [line for n, line in enumerate(lines_in(source), 1) if n not in gone]
    rest = re.sub(r"\n{3,}", "\n\n\n", "\n".join(lines).strip("\n"))
    if not rest:
        return []
    names = [n.name for n in tree.body if isinstance(n, Definition) and not is_public(n)]
    places = [node for n in tree.body for node in getattr(n, "targets", [getattr(n, "target", n)])]
    names += [place.id for place in places if isinstance(place, ast.Name)]
    said = ", ".join(map(code, names[:4])) + " and others" * (len(names) > 4)
    return folded(f"Source of {said or 'this section'}", [block(rest)], ' class="doc-source"')


def only_in(format: str, parts: list[str]) -> list[str]:
    "Markdown for one format, if there is any."
    opening = f'::: {{.content-visible when-format="{format}"}}'
    return [opening, *parts, ":::"] if parts else []


def documentation_cells(source: str, shown: bool, lines: bool) -> list[dict]:
    "What follows the code of an exporting cell, or stands in its place."
    tree = ast.parse(source)
    public = [node for node in tree.body if is_public(node)]
    html = [part for node in public for part in documented(node, source, shown)]
    html += [] if shown else helpers(tree, source)
    places = [f'#metadata("{node.name}") <doc-{node.name}>' for node in public]  # for links
    names = [f"- {code(signature(n, source, False))}: {summary(n)}" for n in public if lines]
    typst = ["\n".join(["```{=typst}", *places, "```"])] * bool(places)
    typst += ["\n".join(names)] if names else []
    parts = [*only_in("html", html), *only_in("typst", typst)]
    cell = {"cell_type": "markdown", "metadata": {}, "source": "\n\n".join(parts)}
    return [cell] if parts else []


def only_imports(source: str) -> bool:
    "Whether a cell has nothing but imports and comments."
    return all(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.parse(source).body)


def without_alignment(output: dict) -> dict:
    "A table of pandas, its headings aligned as their columns are; Typst obeys the style."
    data = output.get("data", {})
    if "<table" not in (page := "".join(data.get("text/html", ""))):
        return output
    page = page.replace('<tr style="text-align: right;">', "<tr>")
    return output | {"data": data | {"text/html": page.splitlines(keepends=True)}}


def described(outputs: list[dict], source: str) -> list[dict]:
    "Outputs whose interactive figures say what is drawn: Quarto tells it of pictures alone."
    outputs = [without_alignment(output) for output in outputs]
    found = re.search(r'^#\| fig-alt: "(.*)"$', source, re.M)
    if not found or not any("text/html" in output.get("data", {}) for output in outputs):
        return outputs
    opening = f'<div role="group" aria-label="{escape(found[1])}">'
    told = []
    for output in outputs:
        data = output.get("data", {})
        if "text/html" in data:
            data = data | {"text/html": [opening, "".join(data["text/html"]), "</div>"]}
        told.append(output | ({"data": data} if data else {}))
    return told


def code_cells(cell: dict, source: str, room: bool) -> list[dict]:
    "What the page has of a cell with code."
    marks = {found[1] for found in mark.finditer(source)}
    source = mark.sub(lambda found: found[0] if found[2] and found[1] != "eval" else "", source)
    source = source.strip("\n")
    bare = mark.sub("", source)
    if "hide" in marks or re.match(r"\s*[%!]", bare) is None and only_imports(bare):
        return []
    if not marks & {"export", "exports", "exporti"}:
        shown = cell | {"source": source, "outputs": described(cell["outputs"], source)}
        return working_cells(shown, bare, room)
    shown = "exports" in marks
    after = documentation_cells(bare, shown, room and not shown)
    if shown:
        return [cell | {"source": without_docstrings(source)}, *after]
    quiet = [cell | {"source": f"#| echo: false\n{source}"}] if cell["outputs"] else []
    return [*after, *quiet]


def working_cells(cell: dict, bare: str, room: bool) -> list[dict]:
    """A cell that works something out, in HTML and in the PDF.

    In a chapter, more than a few lines that make a table or a figure are folded away; the PDF has
    what they make.
    """
    source = cell["source"]
    if room or len(bare.splitlines()) <= FEW_LINES or not re.search(r"^#\| label:", source, re.M):
        return [cell]
    told = only_in("html", folded("Code", [block(bare)], ' class="doc-source"'))
    head = {"cell_type": "markdown", "metadata": {}, "source": "\n\n".join(told)}
    return [head, cell | {"source": f"#| echo: false\n{source}"}]


def prose_cell(cell: dict, text: str, room: bool, path: str) -> dict:
    """A cell with text; the PDF learns below the title which notebook it is.

    The sections of a machine room stand in no table of contents of the PDF.
    """
    place = f'\\1\n\n```{{=typst}}\n#page-of("{path}")\n```\n'
    text = kind_line.sub("", text)
    text = re.sub(r"\A(# .+)\n", place, text) if path else text
    if room:
        text = re.sub(r"^(##+ [^\n{]+)$", r"\1 {.unlisted}", text, flags=re.M)
    return cell | {"source": text}


def page(notebook: dict, path: str = "") -> dict:
    "The notebook that Quarto is to render."
    texts = ["".join(cell["source"]) for cell in notebook["cells"]]
    room = any(found[1] == "machine room" for found in map(kind_line.search, texts[:1]) if found)
    cells = []
    for cell, text in zip(notebook["cells"], texts, strict=True):
        if cell["cell_type"] == "code":
            cells += code_cells(cell, text, room)
        else:
            cells.append(prose_cell(cell, text, room, path))
    for number, cell in enumerate(cells):
        cell.setdefault("id", f"documentation-{number}")
        cell["source"] = cell["source"].splitlines(keepends=True)  # Quarto reads no other form
    return notebook | {"cells": cells}


def path_of(text: str) -> str:
    "The file in this folder that has this text, from the root of the book; Quarto says no names."
    here, root = Path().resolve(), Path(__file__).resolve().parents[1]
    same = [path for path in here.glob("*.ipynb") if path.read_text(encoding="utf-8") == text]
    return same[0].relative_to(root).as_posix() if same and here.is_relative_to(root) else ""


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    given = sys.stdin.read()
    json.dump(page(json.loads(given), path_of(given)), sys.stdout, ensure_ascii=False)
