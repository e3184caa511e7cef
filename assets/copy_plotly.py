"Before rendering: put the installed Plotly's plotly.js where the pages look for it."

import shutil
from pathlib import Path

import plotly

from thu_big_data_ml._files_and_devices import write_whole

target = Path(__file__).parent / "plotly.min.js"
with write_whole(target) as unfinished:
    shutil.copyfile(Path(plotly.__file__).parent / "package_data" / target.name, unfinished)
