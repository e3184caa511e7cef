"Before rendering: put the installed Plotly's plotly.js where the pages look for it."

import shutil
from pathlib import Path

import plotly

target = Path(__file__).parent / "plotly.min.js"
shutil.copyfile(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", target)
