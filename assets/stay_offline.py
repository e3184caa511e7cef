"""After rendering: pages that open from disk and ask nothing of the network.

A browser blocks two things on a page from disk: scripts that are modules, and fetch. So Quarto's
module becomes a plain script, and the index of the search is a script, too. What Quarto adds to
every page for widgets, from the network, is taken out, and plotly.js where there is no figure.
A table of Markdown scrolls by itself where it is wider than the page. For readers who listen, the
sidebar and the contents have names, openers are buttons, and empty heads of columns are no heads.
"""

import os
import re
import sys
from pathlib import Path

from thu_big_data_ml._files_and_devices import write_whole

network_script = re.compile(r'<script[^>]*\bsrc="https?://[^"]*"[^>]*>\s*</script>\s*')
require_setup = re.compile(
    r'<script type="application/javascript">define\(.jquery.[^<]*</script>\s*'
)
plotly = re.compile(r'<script src="[^"]*plotly\.min\.js"></script>\s*')
module = re.compile(
    r'(<script src="[^"]*/)(quarto|tabsets/tabsets)\.js" type="module"></script>\s*'
)

embedded = re.compile(r' data-notebook="[^"]*"')  # a path of this machine
opener = re.compile(r'(<a [^>]*data-bs-toggle="collapse"[^>]*)role="navigation"')
table = re.compile(r'<table(?=[^>]*\bclass="[^"]*\btable\b)(?![^>]*\bdataframe\b).*?</table>', re.S)
empty_head = re.compile(r"<th(\b[^>]*)>\s*</th>")

imported = 'import * as tabsets from "./tabsets/tabsets.js";'
by_module = 'window.location.protocol === "file:" && !shownWarning'
by_fetch = 'await fetch(offsetURL("search.json"))'
by_script = """await new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = offsetURL("search.js");
      script.onload = () => done({ status: 200, json: async () => window.searchIndex });
      script.onerror = fail;
      document.head.append(script);
    })"""


def write(path: Path, text: str):
    with write_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def instead(text: str, old: str, new: str) -> str:
    "A replacement that must be possible: else Quarto is not the one that this file knows."
    if old not in text:
        sys.exit(f"stay_offline.py: this Quarto's scripts have no {old!r}; they have changed.")
    return text.replace(old, new)


def plain_page(text: str) -> str:
    "A page without the network, with plain scripts and names for its parts."
    text = require_setup.sub("", network_script.sub("", text))
    if "Plotly.newPlot" not in text:
        text = plotly.sub("", text)
    text = embedded.sub("", text)
    text = table.sub(r'<div class="scrolls">\g<0></div>', text)
    text = opener.sub(r'\1role="button"', empty_head.sub(r"<td\1></td>", text))
    name = "本书" if re.search(r'<html [^>]*\blang="zh', text) else "Book"
    text = text.replace('<nav id="quarto-sidebar"', f'<nav id="quarto-sidebar" aria-label="{name}"')
    text = text.replace('<nav id="TOC"', '<nav id="TOC" aria-labelledby="toc-title"')
    return module.sub(
        lambda tag: f'{tag[1]}quarto.js" defer></script>\n' if tag[2] == "quarto" else "", text
    )


def plain_script(site: Path):
    "Quarto's module with what it imports, as one plain script."
    folder = site / "site_libs" / "quarto-html"
    text = (folder / "quarto.js").read_text(encoding="utf-8")
    tabsets = (folder / "tabsets" / "tabsets.js").read_text(encoding="utf-8")
    tabsets = instead(tabsets, "export function init", "function init")
    inside = f"const tabsets = (() => {{\n{tabsets}\nreturn {{ init }};\n}})();"
    text = instead(text, imported, inside)
    if re.search(r"^(import|export)\b", text, re.M):
        sys.exit("stay_offline.py: this Quarto's module imports more than it did.")
    write(folder / "quarto.js", f"(() => {{\n{text}\n}})();\n")


def plain_search(site: Path):
    "The index of the search as a script, and a search that reads it."
    index = (site / "search.json").read_text(encoding="utf-8")
    write(site / "search.js", f"window.searchIndex = {index.strip()};\n")
    script = site / "site_libs" / "quarto-search" / "quarto-search.js"
    text = instead(script.read_text(encoding="utf-8"), by_module, "false")
    write(script, instead(text, by_fetch, by_script))


if __name__ == "__main__":
    site = Path(os.environ.get("QUARTO_PROJECT_OUTPUT_DIR", "_docs"))
    for path in site.rglob("*.html"):
        write(path, plain_page(path.read_text(encoding="utf-8")))
    if (site / "search.json").exists():  # else the PDF alone is rendered
        if "await fetch" in (site / "site_libs/quarto-search/quarto-search.js").read_text():
            plain_search(site)
        if "import *" in (site / "site_libs/quarto-html/quarto.js").read_text():
            plain_script(site)
