"""The import of a large table: python benchmarks/import_data.py [--rows 200000]

Writes a CSV, half English, half Traditional Chinese, in Big5 as Excel saves it in Taiwan, and imports it into a
repository whose every check is on; prints seconds, rows/s and the largest memory of all processes together, of the
import and of step 01 on what it wrote.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from pathlib import Path

from data import LABELS, TEMPLATE, make_repository, measured, sample_words, show


def table(count: int) -> list[tuple[str, str]]:
    """Texts and labels, the same ones on every machine; no two are alike."""
    words, signs = sample_words()
    draw = random.Random(0)
    signs = [sign for sign in signs if _in_big5(sign)]
    words = [word for word in words if _in_big5(word)]
    found = []
    for number in range(count):
        text = f"case {number}: " + " ".join(draw.choices(words, k=18))
        if number % 2:
            text = f"編號{number}：" + "".join(draw.choices(signs, k=40))
        found.append((text, draw.choice(LABELS)))
    return found


def _in_big5(text: str) -> bool:
    try:
        return bool(text.encode("cp950"))
    except UnicodeEncodeError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--xlsx", action="store_true", help="the same rows as a workbook, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, project = Path(name), Path(name) / "repository"
        make_repository(project, 1)
        raw = project / "data" / "raw"
        next(raw.iterdir()).unlink()
        rows = table(asked.rows)
        with open(folder / "table.csv", "w", encoding="cp950", newline="") as stream:
            csv.writer(stream).writerows([("內容", "類別"), *rows])
        if asked.xlsx:
            import openpyxl

            book = openpyxl.Workbook(write_only=True)
            sheet = book.create_sheet("rows")
            for row in [("內容", "類別"), *rows]:
                sheet.append(row)
            book.save(folder / "table.xlsx")
        for source in sorted(folder.glob("table.*")):
            for old in raw.iterdir():
                old.unlink()
            script = [str(TEMPLATE / "scripts" / "import_data.py"), str(source), "--project", str(project)]
            print(f"{source.name}: {source.stat().st_size / 2**20:.0f} MB")
            show("import_data", asked.rows, *measured(script))
        show("01_validate_data", asked.rows, *validated(project))


def validated(project: Path) -> tuple[float, float]:
    """Step 01 on what was imported."""
    return measured([str(TEMPLATE / "scripts" / "01_validate_data.py"), "--project", str(project)])


if __name__ == "__main__":
    main()
