"""Import files of other tools into data/raw: python scripts/import_data.py FILE… [--input COLUMN --label COLUMN]."""

from pathlib import Path

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.importing import command as of


def main(
    files: of.Files = None, input: of.Input = "", label: of.Label = "", id: of.Id = "", group: of.Group = "",
    map_label: of.MapLabel = None, sheet: of.Part = "", name: of.Name = "", strict: of.Strict = False,
    partial: of.Partial = False, dry_run: of.DryRun = False, encoding: of.Encoding = "", delimiter: of.Delimiter = "",
    header: of.Header = None, offsets: of.Offsets = "", project: of.Root = Path("."),
) -> None:  # fmt: skip
    """Recognise each FILE by its content, show what is made of it, and write data/raw/NAME.jsonl; exit 2 on any error.

    CSV, TSV, XLSX, XLS, ODS, JSON in every layout, Parquet, Hugging Face data sets, alpaca, ShareGPT, OpenAI messages,
    Label Studio, doccano, Prodigy, Argilla, CoNLL and brat.
    """
    raise typer.Exit(run(of.import_data, **locals()))


if __name__ == "__main__":
    typer.run(main)
