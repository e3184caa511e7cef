"Before rendering: plotly.js and the figure of the first page go where the pages look for them."

import json
import shutil
from pathlib import Path

import book_filter
import plotly

from thu_big_data_ml._files_and_devices import write_whole

assets = Path(__file__).resolve().parent
target = assets / "plotly.min.js"
with write_whole(target) as unfinished:
    shutil.copyfile(Path(plotly.__file__).parent / "package_data" / target.name, unfinished)

# Quarto filters no notebook that a page embeds, and stumbles over the marks of nbdev.
notebook = json.loads((assets.parent / "nbs/evaluation/comparison.ipynb").read_text("utf-8"))
page = book_filter.page(notebook)
page["cells"] = [cell for cell in page["cells"] if "#| label: fig-comparison\n" in cell["source"]]
assert len(page["cells"]) == 1
with write_whole(assets / "answer.ipynb") as unfinished:
    Path(unfinished).write_text(json.dumps(page), "utf-8")
