"""Execute notebooks, each in a process of its own, and store small outputs.

Usage: python assets/execute_notebooks.py [--to FOLDER] [--jobs 2] [--slow] [notebook ...]

All notebooks of the book by default, in its order, in place unless a folder for copies is named.

Cells that nbdev's tests skip (`#| eval: false` and the tst_flags of settings.ini) keep the outputs
they have. With --slow, the cells marked `#| slow` run as well; without names, only the notebooks
that have such cells do.

A Plotly figure is stored twice: as a div without plotly.js for the HTML book, and as a PNG for the
PDF and for GitHub. The PNG needs a Chromium; without one a figure is stored without it, and a line
says so.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parents[1]


def book() -> list[Path]:
    "The notebooks in the order of the book."
    listed = (root / "_quarto.yml").read_text(encoding="utf-8")
    return [root / name for name in re.findall(r"^\s*- (nbs/\S+\.ipynb)\s*$", listed, re.M)]


def directives(source: str) -> dict:
    "The `#| name: value` lines at the head of a cell."
    return dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", source, re.M))


def report_bundle(figure: dict) -> dict:
    "A figure as a div that expects plotly.js on the page and, where there is a Chromium, a PNG."
    import plotly.graph_objects as go
    import plotly.io as pio

    fig = go.Figure(figure)
    name = f"figure-{hashlib.sha1(fig.to_json().encode()).hexdigest()[:12]}"
    page = pio.to_html(fig, include_plotlyjs=False, full_html=False, div_id=name)
    image = png_of(fig)
    return {"text/html": page} | ({"image/png": image} if image else {})


def png_of(fig, attempts: int = 2) -> bytes | None:
    "A figure as a PNG, or None without a Chromium; a busy machine may need a second try."
    try:
        return fig.to_image("png", scale=1.5)
    except Exception as error:  # kaleido has several errors for a missing browser
        if attempts > 1:
            return png_of(fig, attempts - 1)
        reason = str(error).strip().splitlines()[0]
        # to the terminal: what goes to sys.stderr is stored in the notebook
        print(f"  a figure is stored without its PNG: {reason}", file=sys.__stderr__)


def use_report_renderer():
    "Make `fig.show()` in the notebooks store what `report_bundle` makes."
    import plotly.io as pio

    class Report(pio.base_renderers.MimetypeRenderer):
        def to_mimebundle(self, figure):
            return report_bundle(figure)

    pio.renderers["report"] = Report()
    pio.renderers.default = "report"


def execute(path: Path, target: Path, slow: bool):
    "Run one notebook here and write it with its outputs to `target`; an error leaves the old one."
    from execnb.nbio import nb2str, read_nb
    from execnb.shell import CaptureShell
    from nbdev.config import get_config

    from thu_big_data_ml._files_and_devices import write_whole

    os.chdir(path.parent)
    skip = set(get_config().tst_flags.split()) - ({"slow"} if slow else set())
    notebook, shell = read_nb(path), CaptureShell(path)
    use_report_renderer()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, 1):
        found = directives(cell.source)
        if found.get("eval") == "false" or skip & found.keys():
            continue
        cell.outputs, cell.execution_count = [], number
        shell.cell(cell)
        if shell.exc:
            sys.exit(f"{path.relative_to(root)}: {shell.prettytb(fname=path)}")
    with write_whole(target) as unfinished:
        unfinished.write_text(nb2str(notebook), encoding="utf-8")


def execute_and_say(path: Path, target: Path, slow: bool):
    "Run one notebook here; one line says how long it took, and how long the processor worked."
    start = time.perf_counter()
    execute(path, target, slow)
    wall, worked = time.perf_counter() - start, time.process_time()
    print(f"{wall:7.1f} s {worked:7.1f} CPU s  {path.relative_to(root)}", flush=True)


def execute_apart(path: Path, options) -> int:
    "Run one notebook in a process of its own; the exit code."
    command = [sys.executable, __file__, "--here", path]
    command += ["--to", options.to.resolve()] if options.to else []
    command += ["--slow"] if options.slow else []
    return subprocess.run(command, env=os.environ | {"TQDM_DISABLE": "1"}).returncode


def parse() -> argparse.Namespace:
    "What the command line says."
    parser = argparse.ArgumentParser(description="Execute notebooks and store small outputs.")
    add = parser.add_argument
    add("notebooks", nargs="*", type=Path, help="all by default, in the order of the book")
    add("--to", type=Path, help="folder for executed copies; in place by default")
    add("--jobs", type=int, default=1, help="how many run side by side; seconds in them then grow")
    add("--slow", action="store_true", help="run the cells marked `#| slow`, too")
    add("--here", action="store_true", help=argparse.SUPPRESS)  # in this process
    return parser.parse_args()


def main():
    "Execute the notebooks that the command line names."
    options = parse()
    paths = [name.resolve() for name in options.notebooks] or book()
    if options.here:
        target = options.to / paths[0].relative_to(root / "nbs") if options.to else paths[0]
        return execute_and_say(paths[0], target, options.slow)
    if options.slow and not options.notebooks:
        paths = [path for path in paths if '"#| slow' in path.read_text(encoding="utf-8")]
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(execute_apart, path, options) for path in paths]
        for job in running:
            if job.result():
                pool.shutdown(cancel_futures=True)
                sys.exit(1)


if __name__ == "__main__":
    main()
