"""After rendering: take the script tags of jquery and require.js out of the pages.

Quarto adds them beside every HTML output.
"""

import os
import re
from pathlib import Path

from thu_big_data_ml._files_and_devices import write_whole

network_script = re.compile(r'<script[^>]*\bsrc="https?://[^"]*"[^>]*>\s*</script>\s*')
require_setup = re.compile(
    r'<script type="application/javascript">define\(.jquery.[^<]*</script>\s*'
)

for page in Path(os.environ.get("QUARTO_PROJECT_OUTPUT_DIR", "_docs")).rglob("*.html"):
    text = page.read_text(encoding="utf-8")
    with write_whole(page) as unfinished:
        unfinished.write_text(require_setup.sub("", network_script.sub("", text)), encoding="utf-8")
