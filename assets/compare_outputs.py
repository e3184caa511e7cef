"""Whether the outputs stored in the notebooks are those of today's code.

Usage: python assets/compare_outputs.py FOLDER    a folder that execute_notebooks.py --to has filled

Tables and printed texts of each cell are compared with those of a fresh run: words must be equal,
and numbers nearly so. What depends on the machine is left out: seconds and bytes, and columns of
them. Figures are not compared, nor cells that were not run, such as slow ones.
"""

import html
import json
import re
import sys
from itertools import zip_longest
from math import isclose
from pathlib import Path

nbs = Path(__file__).resolve().parents[1] / "nbs"

number = re.compile(r"(?<![\w.])[-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
of_machine = (
    r"(?<![A-Za-z])(?:[mµn]?s|(?:milli)?seconds?|minutes|[kMGT]i?B|bytes|it/s|times|threads)\b"
)
measured = re.compile(rf"{number.pattern}\s*{of_machine}")
of_the_day = re.compile(r"(?:[\d-]{10}T)?\d\d:\d\d:\d\d(?:\+[\d:]{5})?|0x[0-9a-f]{6,}|/tmp/\S+")
rows = re.compile(r"<tr[^>]*>(.*?)</tr>", re.S)
fields = re.compile(r"<t([hd])[^>]*>(.*?)</t\1>", re.S)


def table_of(page: str) -> str:
    "A stored table as lines of text, without the columns that a machine decides."
    lines = [[html.unescape(text) for _, text in fields.findall(row)] for row in rows.findall(page)]
    gone = {  # counted from the right: a name of several rows stands in the first of them only
        place - len(line)
        for line in lines[:2]
        for place, heading in enumerate(line)
        if re.search(rf"{of_machine}|\bCPU\b|faster|growth", heading)
    }
    return "\n".join(
        " | ".join(text for place, text in enumerate(line) if place - len(line) not in gone)
        for line in lines
    )


def said(cell: dict) -> str:
    "What the outputs of a cell say in words and numbers, but for figures."
    texts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {"text/plain": output.get("text", "")})
        page = "".join(data.get("text/html", ""))
        if "<table" in page:
            texts.append(table_of(page))
        elif not page and "image/png" not in data:
            texts.append("".join(data.get("text/markdown", data.get("text/plain", ""))))
    return of_the_day.sub("…", measured.sub("…", "\n".join(texts)))


def same(old: str, new: str) -> bool:
    "Whether two texts have the same words, and numbers within 2 % or 0.006."
    if number.sub("#", old).split() != number.sub("#", new).split():
        return False
    pairs = zip(number.findall(old), number.findall(new))
    values = ([float(n.replace(",", "").replace("−", "-")) for n in pair] for pair in pairs)
    return all(isclose(*pair, rel_tol=0.02, abs_tol=0.006) for pair in values)


def differences(stored: dict, fresh: dict) -> list[str]:
    "The cells whose outputs differ, each with the first line that does."
    found = []
    for old, new in zip(stored["cells"], fresh["cells"], strict=True):
        if not same(before := said(old), after := said(new)):
            pairs = zip_longest(before.splitlines(), after.splitlines(), fillvalue="")
            line = next((pair for pair in pairs if not same(*pair)), (before, after))
            found.append(f"cell {old['id']}: stored {line[0]!r}, now {line[1]!r}")
    return found


def main(folder: Path):
    "Compare every notebook of a folder with the stored one."
    wrong = 0
    for path in sorted(folder.rglob("*.ipynb")):
        name = path.relative_to(folder)
        texts = ((at / name).read_text(encoding="utf-8") for at in (nbs, folder))
        for text in differences(*map(json.loads, texts)):
            print(f"nbs/{name}, {text}")
            wrong += 1
    if wrong:
        sys.exit(f"compare_outputs.py: {wrong} cells have other outputs than are stored.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
