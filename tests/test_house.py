"The house: layers, what is public, how wide and long, what help() says, where prose points."

import ast
import doctest
import importlib
import inspect
import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import thu_big_data_ml

root = Path(__file__).resolve().parents[1]
package = root / "thu_big_data_ml"
notebooks = sorted((root / "nbs").rglob("[!.]*.ipynb"))
modules = {
    ".".join(path.relative_to(package).with_suffix("").parts): path
    for path in sorted(package.rglob("*.py"))
    if path.name not in ("__init__.py", "_modidx.py")
}
book = re.findall(r"^\s*- (nbs/\S+\.ipynb)$", (root / "_quarto.yml").read_text(), re.M)

# Rows from low to high. A module imports from rows below and from its own folder; the folders of
# one row do not know each other. Modules of no folder are the lowest row.
rows = [
    {""},
    {"data"},
    {"estimators"},
    {"neighbors", "factorization", "bayesian"},
    {"evaluation"},
    {"distributed"},
    {"__main__", "big_data_analytics"},
]
allowed = {("bayesian", "factorization._implicit_prior")}


def folder_of(module: str) -> str:
    return module if module == "__main__" else module.rpartition(".")[0]


def row_of(module: str) -> int:
    return next(n for n, folders in enumerate(rows) if folder_of(module) in folders)


def imports_of(module: str) -> set[str]:
    "The modules of this package that a module imports, anywhere in it; '' is the package itself."
    found, here = set(), ["thu_big_data_ml", *module.split(".")]
    for node in ast.walk(ast.parse(modules[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            below = {f"{name}.{alias.name}" for alias in node.names}
            within = {b for b in below if b.removeprefix("thu_big_data_ml.") in modules}
            found |= within or {name}
    ours = {name for name in found if name.split(".")[0] == "thu_big_data_ml"}
    return {name.removeprefix("thu_big_data_ml").removeprefix(".") for name in ours}


def functions_of(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def documented(tree):
    "What may have a docstring, and has one."
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [n for n in ast.walk(tree) if isinstance(n, kinds) and ast.get_docstring(n) is not None]


def kernels(module: str) -> bool:
    return module.endswith("kernels") or module == "_compiling"


def name_of(path: Path) -> str:
    return str(path.relative_to(root))


# Layers


@pytest.mark.parametrize("module", modules)
def test_imports_go_downwards(module):
    for other in imports_of(module):
        if folder_of(module) == folder_of(other) or (folder_of(module), other) in allowed:
            continue
        on_top = folder_of(module) in rows[-1]  # may import the package itself, ''
        assert on_top or other in modules, f"{module} imports {other or 'the package itself'}"
        assert not other or row_of(other) < row_of(module), f"{module} imports {other}"


def test_no_module_imports_itself_by_a_detour():
    list(TopologicalSorter({module: imports_of(module) for module in modules}).static_order())


def exported_by(notebook: str) -> str | None:
    found = re.search(r'"#\| default_exp (\S+?)(\\n)?"', (root / notebook).read_text())
    return found and found[1]


def test_machine_rooms_stand_in_the_order_of_dependency():
    order = {exported_by(name): n for n, name in enumerate(book) if kind_of(name) == "machine room"}
    for module in order.keys() & modules.keys():
        for other in imports_of(module) & order.keys():
            assert order[other] < order[module], f"{module} imports {other}, which comes later"


# Chapters and machine rooms


def markdown_of(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def kind_of(notebook: str) -> str | None:
    head = markdown_of(root / notebook).split("\n## ")[0]
    found = re.search(r"^\*An? (chapter|machine room|appendix)\.\*$", head, re.M)
    return found and found[1]


def test_every_notebook_is_in_the_book():
    assert sorted(book) == [str(path.relative_to(root)) for path in notebooks]


def test_every_notebook_says_its_kind_and_stands_in_that_part():
    kinds = [kind_of(name) for name in book]
    order = ["chapter", "machine room", "appendix"]
    assert kinds == sorted(kinds, key=order.index), dict(zip(book, kinds))


@pytest.mark.parametrize("path", [*notebooks, root / "index.qmd", root / "README.md"], ids=name_of)
def test_chapters_are_named_not_counted(path):
    prose = path.read_text() if path.suffix != ".ipynb" else markdown_of(path)
    room = r"(chapters?|notebooks?|machine rooms?)"
    wrong = rf"\b(last|previous|next|preceding|following) {room}\b|\b{room} (ago|before|after)\b"
    assert not re.findall(wrong, prose, re.I)


# What is public


def public() -> dict[str, object]:
    "Names of the package, and those of `distributed`, which are said with their module."
    names = getattr(thu_big_data_ml, "__all__", ())
    rooms = [module for module in modules if re.match(r"distributed\.[^_]", module)]
    with_room = {
        f"{room}.{name}": getattr(importlib.import_module(f"thu_big_data_ml.{room}"), name)
        for room in rooms
        for name in sorted(names_in_all(room))
    }
    return {name: getattr(thu_big_data_ml, name) for name in names} | with_room


def names_in_all(module: str) -> set[str]:
    return set(importlib.import_module(f"thu_big_data_ml.{module}").__all__)


@pytest.mark.parametrize("module", modules)
def test_public_modules_hold_public_names_and_nothing_else(module):
    last = module.rpartition(".")[2]
    if last.startswith("_"):
        assert last == "__main__" or not names_in_all(module) & public().keys()
    else:
        known = {name.removeprefix(f"{module}.") for name in public()}
        assert names_in_all(module) and not names_in_all(module) - known


def test_no_name_is_defined_twice():
    homes = {}
    for module, path in modules.items():
        for node in ast.parse(path.read_text()).body:
            targets = getattr(node, "targets", [])
            names = [t.id for t in targets if isinstance(t, ast.Name)] or [
                getattr(node, "name", "_")
            ]
            for name in names:
                if not name.startswith("_"):
                    homes.setdefault(name, set()).add(module)
    assert not {name: found for name, found in homes.items() if len(found) > 1}


def defined_here(thing) -> list[tuple[str, object]]:
    "A public function, or a public class with its public methods and properties."
    if inspect.isfunction(thing):
        return [(thing.__name__, thing)]
    methods = [(name, value) for name, value in vars(thing).items() if not name.startswith("_")]
    unwrapped = [(name, getattr(value, "__func__", value)) for name, value in methods]
    return [(thing.__name__, thing), *((n, f) for n, f in unwrapped if inspect.isfunction(f))]


def function_of(thing):
    "The function itself, or a class's constructor if it is ours."
    if inspect.isfunction(thing):
        return thing
    ours = str(getattr(thing.__init__, "__module__", "")).startswith("thu_big_data_ml")
    return thing.__init__ if ours else lambda: None


def parameters_of(thing) -> list[str]:
    "Names of the parameters, but for self; of a class those of its constructor."
    names = inspect.signature(function_of(thing)).parameters
    return [name for name in names if name not in ("self", "cls")]


def section(docstring: str, title: str) -> str:
    "The text of one section of a numpydoc docstring; empty if there is none."
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}$|\Z)", docstring, re.M | re.S)
    return found[1] if found else ""


def described(docstring: str) -> list[str]:
    heads = re.findall(r"^([*\w][*\w, ]*?)(?: *:.*)?$", section(docstring, "Parameters"), re.M)
    return [name.strip(" *") for head in heads for name in head.split(",")]


callables = {n: t for n, t in public().items() if inspect.isclass(t) or inspect.isfunction(t)}


@pytest.mark.parametrize("name", callables)
def test_help_names_every_parameter(name):
    for part, thing in defined_here(callables[name]):
        text = inspect.getdoc(thing)
        assert text and thing.__doc__, f"{name}, {part}: no docstring of its own"
        assert described(text) == parameters_of(thing), f"{name}, {part}"
        if inspect.isfunction(thing) and inspect.signature(thing).return_annotation not in (
            None,
            "None",
        ):
            assert section(text, "Returns") or section(text, "Yields"), f"{name}, {part}: Returns"


@pytest.mark.parametrize("name", callables)
def test_public_names_are_annotated_in_full(name):
    for part, thing in defined_here(callables[name]):
        signature = inspect.signature(function_of(thing))
        bare = [
            p.name
            for p in signature.parameters.values()
            if p.annotation is p.empty and p.name not in ("self", "cls")
        ]
        assert not bare, f"{name}, {part}: {bare}"
        if inspect.isfunction(thing):
            assert signature.return_annotation is not signature.empty, f"{name}, {part}: returns"


@pytest.mark.parametrize("name", callables)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = callables[name]
    examples = doctest.DocTestFinder().find(
        thing, name, globs={**vars(thing_module(thing)), **public()}
    )
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in examples:
        runner.run(example)
    assert not runner.failures
    assert runner.tries or name == "download_netflix", f"{name}: no example"  # it needs a network


def thing_module(thing):
    return importlib.import_module(thing.__module__)


# How wide and how long


def code_lines():
    "(where, line) of all code but what nbdev generates."
    for path in notebooks:
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                for line in "".join(cell["source"]).splitlines():
                    yield f"{path.name} {cell['id']}", line
    for folder in ("tests", "bench", "assets"):
        for path in (root / folder).rglob("*.py"):
            if ".environments" not in path.parts:
                yield from ((path.name, line) for line in path.read_text().splitlines())


def test_no_line_is_wider_than_100_columns():
    assert not [(where, line) for where, line in code_lines() if len(line) > 100]
    summaries = {module: path.read_text().split("\n", 1)[0] for module, path in modules.items()}
    assert not {module for module, line in summaries.items() if len(line) > 100}


@pytest.mark.parametrize("module", modules)
def test_no_function_and_no_module_is_long(module):
    tree = ast.parse(modules[module].read_text())
    for function in functions_of(tree):
        code = function.body[1:] if ast.get_docstring(function) is not None else function.body
        lines = 1 + code[-1].end_lineno - code[0].lineno if code else 0
        assert lines <= 40 or kernels(module), f"{function.name}: {lines} lines"
    prose = sum(1 + n.body[0].end_lineno - n.body[0].lineno for n in documented(tree))
    lines = len(modules[module].read_text().splitlines())
    assert lines - prose <= 350 or kernels(module), f"{lines} lines, {prose} of them docstrings"


@pytest.mark.parametrize("module", modules)
def test_no_constructor_has_more_than_18_parameters(module):
    for function in functions_of(ast.parse(modules[module].read_text())):
        if function.name == "__init__":
            arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
            assert len(arguments) - 1 <= 18, f"line {function.lineno}"
