"""Execute notebooks, each in a process of its own, and store small outputs.

On Linux the processes are forked from one that has imported NumPy, torch and the like, and nothing
of ours: an import takes seconds, and there are eighty notebooks.

Usage: python assets/execute_notebooks.py [--to FOLDER] [--jobs 2] [--slow] [notebook ...]

All notebooks of the book by default, in place unless a folder for copies is named.

Cells that nbdev's tests skip (`#| eval: false` and the tst_flags of settings.ini) keep the outputs
they have. With --slow, the cells marked `#| slow` run as well; without names, only the notebooks
that have such cells do.

A Plotly figure is stored twice: as a div without plotly.js for the HTML book, and as a PNG for the
PDF and for GitHub. The PNG needs a Chromium; without one a figure is stored without it, and a line
says so.
"""

import argparse
import asyncio
import base64
import hashlib
import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parents[1]
imported_once = ["execnb.shell", "nbdev.config", "numba", "pandas", "plotly.io", "scipy.sparse"]
imported_once += ["sklearn.model_selection", "torch"]


def book() -> list[Path]:
    "The notebooks in the order of the book, but its appendix first: it is long, and ends alone."
    listed = (root / "_quarto.yml").read_text(encoding="utf-8")
    *others, appendix = re.findall(r"^\s*- (nbs/\S+\.ipynb)\s*$", listed, re.M)
    return [root / name for name in (appendix, *others)]


def directives(source: str) -> dict:
    "The `#| name: value` lines at the head of a cell."
    return dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", source, re.M))


def use_report_renderer() -> dict:
    "Make `fig.show()` store a div that expects plotly.js on the page; all figures, by their names."
    import plotly.graph_objects as go
    import plotly.io as pio

    figures = {}

    class Report(pio.base_renderers.MimetypeRenderer):
        def to_mimebundle(self, figure):
            fig = go.Figure(figure)
            name = f"figure-{hashlib.sha1(fig.to_json().encode()).hexdigest()[:12]}"
            page = pio.to_html(fig, include_plotlyjs=False, full_html=False, div_id=name)
            figures[name] = fig
            return {"text/html": page, "image/png": name}  # until all are drawn

    pio.renderers["report"] = Report()
    pio.renderers.default = "report"
    return figures


async def drawn(figures: dict) -> dict:
    "The PNG of each figure, all from one Chromium: to start it takes seconds."
    from kaleido import Kaleido

    async with Kaleido() as browser:
        options = dict(format="png", scale=1.5)
        return {name: await browser.calc_fig(fig, options) for name, fig in figures.items()}


def pictures(figures: dict, attempts: int = 2) -> dict:
    "The PNGs as text, or none without a Chromium; a busy machine may need a second try."
    try:
        found = asyncio.run(drawn(figures)) if figures else {}
        return {name: base64.b64encode(png).decode() + "\n" for name, png in found.items()}
    except Exception as error:  # kaleido has several errors for a missing browser
        if attempts > 1:
            return pictures(figures, attempts - 1)
        reason = str(error).strip().splitlines()[0]
        # to the terminal: what goes to sys.stderr is stored in the notebook
        print(f"  figures are stored without their PNGs: {reason}", file=sys.__stderr__)
        return {}


def put_in(found: dict, cells: list):
    "Pictures in the place of their names, in the outputs of all cells."
    for data in (output.get("data", {}) for cell in cells for output in cell.outputs):
        if data.get("image/png") in found:
            data["image/png"] = found[data["image/png"]]
        elif data.get("image/png", "").startswith("figure-"):
            del data["image/png"]


def execute(path: Path, target: Path, slow: bool):
    "Run one notebook here and write it with its outputs to `target`; an error leaves the old one."
    from execnb.nbio import nb2str, read_nb
    from execnb.shell import CaptureShell
    from nbdev.config import get_config

    from thu_big_data_ml._files_and_devices import write_whole

    os.chdir(path.parent)
    skip = set(get_config().tst_flags.split()) - ({"slow"} if slow else set())
    notebook, shell = read_nb(path), CaptureShell(path)
    figures = use_report_renderer()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, 1):
        found = directives(cell.source)
        if found.get("eval") == "false" or skip & found.keys():
            continue
        cell.outputs, cell.execution_count = [], number
        shell.cell(cell)
        if shell.exc:
            sys.exit(f"{path.relative_to(root)}: {shell.prettytb(fname=path)}")
    put_in(pictures(figures), cells)
    with write_whole(target) as unfinished:
        unfinished.write_text(nb2str(notebook), encoding="utf-8")


def execute_and_say(path: Path, target: Path, slow: bool):
    "Run one notebook here; one line says how long it took, and how long the processor worked."
    start = time.perf_counter()
    execute(path, target, slow)
    wall, worked = time.perf_counter() - start, time.process_time()
    print(f"{wall:7.1f} s {worked:7.1f} CPU s  {path.relative_to(root)}", flush=True)


linux = sys.platform == "linux"  # elsewhere libraries may start threads when they are imported
processes = multiprocessing.get_context("forkserver" if linux else "spawn")
if linux:
    processes.set_forkserver_preload(imported_once)


def execute_apart(path: Path, target: Path, slow: bool) -> int:
    "Run one notebook in a process of its own; the exit code."
    process = processes.Process(target=execute_and_say, args=(path, target, slow))
    process.start()
    process.join()
    return process.exitcode


def parse() -> argparse.Namespace:
    "What the command line says."
    parser = argparse.ArgumentParser(description="Execute notebooks and store small outputs.")
    add = parser.add_argument
    add("notebooks", nargs="*", type=Path, help="all by default, in the order of the book")
    add("--to", type=Path, help="folder for executed copies; in place by default")
    add("--jobs", type=int, default=1, help="how many run side by side; seconds in them then grow")
    add("--slow", action="store_true", help="run the cells marked `#| slow`, too")
    return parser.parse_args()


def main():
    "Execute the notebooks that the command line names."
    options = parse()
    paths = [name.resolve() for name in options.notebooks] or book()
    if options.slow and not options.notebooks:
        paths = [path for path in paths if '"#| slow' in path.read_text(encoding="utf-8")]
    os.environ |= {"TQDM_DISABLE": "1", "OMP_WAIT_POLICY": "passive"}  # torch reads the latter
    folder = options.to.resolve() if options.to else root / "nbs"
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [
            pool.submit(execute_apart, path, folder / path.relative_to(root / "nbs"), options.slow)
            for path in paths
        ]
        for job in running:
            if job.result():
                pool.shutdown(cancel_futures=True)
                sys.exit(1)


if __name__ == "__main__":
    main()
