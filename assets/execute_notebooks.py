"""Execute notebooks in order, each in a process of its own, and store small outputs.

Usage: python assets/execute_notebooks.py [--to FOLDER] [notebook ...]

All of nbs/ by default, in place unless a folder for the executed copies is named.

Cells that nbdev's tests skip (`#| eval: false` and the tst_flags of settings.ini) keep the outputs they have.
A Plotly figure is stored twice: as a div without plotly.js for the HTML book, and as a PNG for the PDF and for GitHub.
The PNG needs a Chromium; without one a figure is stored without it, and a line says so.
"""
import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

root = Path(__file__).resolve().parents[1]


def directives(source: str) -> dict:
    "The `#| name: value` lines at the head of a cell."
    return dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", source, re.M))


def report_bundle(figure: dict) -> dict:
    "A figure as an HTML div that expects plotly.js on the page and, where there is a Chromium, a PNG."
    import plotly.graph_objects as go
    import plotly.io as pio

    fig = go.Figure(figure)
    name = hashlib.sha1(fig.to_json().encode()).hexdigest()[:12]
    bundle = {"text/html": pio.to_html(fig, include_plotlyjs=False, full_html=False, div_id=f"figure-{name}")}
    try:
        bundle["image/png"] = fig.to_image("png", scale=1.5)
    except Exception as error:  # kaleido has several errors for a missing browser
        print(f"  a figure is stored without its PNG: {str(error).strip().splitlines()[0]}", file=sys.stderr)
    return bundle


def use_report_renderer():
    "Make `fig.show()` in the notebooks store what `report_bundle` makes."
    import plotly.io as pio

    class Report(pio.base_renderers.MimetypeRenderer):
        def to_mimebundle(self, figure):
            return report_bundle(figure)

    pio.renderers["report"] = Report()
    pio.renderers.default = "report"


def execute(path: Path, target: Path):
    "Run one notebook in this process and write it with its outputs to `target`; the first error ends it."
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    from nbdev.config import get_config

    os.chdir(path.parent)
    skip = set(get_config().tst_flags.split())
    notebook, shell = read_nb(path), CaptureShell(path)
    use_report_renderer()
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        found = directives(cell.source)
        if found.get("eval") == "false" or skip & found.keys():
            continue
        cell.outputs, cell.execution_count = [], number
        shell.cell(cell)
        if shell.exc:
            sys.exit(shell.prettytb(fname=path))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_nb(notebook, target)


def main():
    "Execute the notebooks that the command line names."
    options = argparse.ArgumentParser(description="Execute notebooks in order and store small outputs.")
    options.add_argument("notebooks", nargs="*", type=Path, help="all of nbs/ by default, in the order of the book")
    options.add_argument("--to", type=Path, help="folder for executed copies; in place by default")
    options.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process
    options = options.parse_args()
    for path in [n.resolve() for n in options.notebooks] or sorted((root / "nbs").rglob("[!.]*.ipynb")):
        target = path if options.to is None else options.to.resolve() / path.relative_to(root / "nbs")
        if options.here:
            return execute(path, target)
        print(path.relative_to(root), end="", flush=True)
        start = time.perf_counter()
        command = [sys.executable, __file__, "--here", path] + (["--to", options.to.resolve()] if options.to else [])
        if code := subprocess.run(command, env=os.environ | {"TQDM_DISABLE": "1"}).returncode:
            sys.exit(code)
        print(f"  {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
