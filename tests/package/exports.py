"""The same rows as each tool writes them; where a library is what people write such files with, it writes them here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[dict[str, Any]]
Write = Callable[[Path, Rows], Path]
LABELS = ("billing", "shipping", "account")


def text_file(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def lines_file(folder: Path, name: str, records: Sequence[Any]) -> Path:
    return text_file(folder, name, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def json_file(folder: Path, name: str, records: Any, indent: int | None = 2) -> Path:
    return text_file(folder, name, json.dumps(records, ensure_ascii=False, indent=indent))


def table(rows: Rows, delimiter: str = ",", names: Sequence[str] = ("text", "label"), end: str = "\r\n") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(names)
    writer.writerows([row["input"], row["label"]] for row in rows)
    return out.getvalue()


def csv_utf8(folder: Path, rows: Rows) -> Path:
    return text_file(folder, "export.csv", table(rows))


def csv_excel(folder: Path, rows: Rows) -> Path:
    """As Excel saves "CSV UTF-8" where the decimal sign is a comma."""
    return text_file(folder, "export.csv", table(rows, ";"), "utf-8-sig")


def tsv_utf16(folder: Path, rows: Rows) -> Path:
    """As Excel saves "Unicode text"."""
    return text_file(folder, "export.txt", table(rows, "\t"), "utf-16")


def xlsx(folder: Path, rows: Rows) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["序號", "內容", "類別"])
    for number, row in enumerate(rows, 1):
        book.active.append([number, row["input"], row["label"]])
    book.save(folder / "export.xlsx")
    return folder / "export.xlsx"


def ods(folder: Path, rows: Rows) -> Path:
    from odf.opendocument import OpenDocumentSpreadsheet
    from odf.table import Table, TableCell, TableRow
    from odf.text import P

    document, sheet = OpenDocumentSpreadsheet(), Table(name="Sheet1")
    for values in [("text", "label"), *((row["input"], row["label"]) for row in rows)]:
        line = TableRow()
        for value in values:
            cell = TableCell(valuetype="string")
            cell.addElement(P(text=value))
            line.addElement(cell)
        sheet.addElement(line)
    document.spreadsheet.addElement(sheet)
    document.save(folder / "export.ods")
    return folder / "export.ods"


def parquet(folder: Path, rows: Rows) -> Path:
    """As pandas' to_parquet writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"text": [row["input"] for row in rows], "label": [row["label"] for row in rows]}
    pq.write_table(pa.table(columns), folder / "export.parquet")
    return folder / "export.parquet"


def saved_data_set(folder: Path, rows: Rows) -> Path:
    """datasets.save_to_disk of one split, labels as ClassLabel."""
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(LABELS))})
    columns = {"text": [row["input"] for row in rows], "label": [LABELS.index(row["label"]) for row in rows]}
    Dataset.from_dict(columns, features=features).save_to_disk(folder / "saved")
    return folder / "saved"


def parquet_folder(folder: Path, rows: Rows) -> Path:
    """As a data set lies on the Hub: data/train-00000-of-00002.parquet with the features in its schema."""
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(LABELS))})
    (folder / "hub" / "data").mkdir(parents=True)
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        columns = {"text": [row["input"] for row in part], "label": [LABELS.index(row["label"]) for row in part]}
        data = Dataset.from_dict(columns, features=features)
        data.to_parquet(folder / "hub" / "data" / f"train-{number:05}-of-00002.parquet")
    return folder / "hub"


def json_array(folder: Path, rows: Rows) -> Path:
    return json_file(folder, "export.json", [{"sentence": row["input"], "intent": row["label"]} for row in rows])


def json_objects(folder: Path, rows: Rows) -> Path:
    """As jq prints records."""
    objects = [json.dumps(row, ensure_ascii=False, indent=2) for row in rows]
    return text_file(folder, "export.json", "\n".join(objects) + "\n")


def json_wrapped(folder: Path, rows: Rows) -> Path:
    return json_file(
        folder, "export.json", {"version": "1", "data": [{"text": r["input"], "label": r["label"]} for r in rows]}
    )


def nested_lines(folder: Path, rows: Rows) -> Path:
    records = [{"payload": {"text": row["input"]}, "gold": {"label": row["label"]}, "n": 1} for row in rows]
    return lines_file(folder, "export.jsonl", records)


def messages(folder: Path, rows: Rows) -> Path:
    def turns(row: dict[str, Any]) -> list[dict[str, str]]:
        spoken = [("system", "Route it."), ("user", row["input"]), ("assistant", _answer(row))]
        return [{"role": role, "content": text} for role, text in spoken]

    return lines_file(folder, "export.jsonl", [{"messages": turns(row)} for row in rows])


def sharegpt(folder: Path, rows: Rows) -> Path:
    records = [
        {"id": f"c{n}", "conversations": [{"from": "human", "value": r["input"]}, {"from": "gpt", "value": _answer(r)}]}
        for n, r in enumerate(rows)
    ]
    return json_file(folder, "export.json", records)


def alpaca(folder: Path, rows: Rows) -> Path:
    records = [{"instruction": "Do it.", "input": row["input"], "output": _answer(row)} for row in rows]
    return json_file(folder, "export.json", records, indent=4)


def alpaca_without_input(folder: Path, rows: Rows) -> Path:
    records = [{"instruction": row["input"], "input": "", "output": _answer(row)} for row in rows]
    return json_file(folder, "export.json", records, indent=4)


def prompts(folder: Path, rows: Rows) -> Path:
    """OpenAI's format before chat models."""
    records = [{"prompt": f"{row['input']}\n\n###\n\n", "completion": f" {_answer(row)}"} for row in rows]
    return lines_file(folder, "export.jsonl", records)


def _answer(row: dict[str, Any]) -> str:
    return row["label"] if "label" in row else row["output"]


def label_studio(folder: Path, rows: Rows) -> Path:
    records = []
    for number, row in enumerate(rows, 1):
        value = {"choices": [row["label"]]}
        result = {"value": value, "id": f"r{number}", "from_name": "sentiment", "to_name": "text", "type": "choices"}
        annotation = {
            "id": number,
            "completed_by": 1,
            "result": [result],
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": "2024-05-01T08:00:00Z",
            "lead_time": 3.1,
            "prediction": {},
            "result_count": 0,
        }
        records.append(
            {
                "id": number,
                "annotations": [annotation],
                "file_upload": "x.csv",
                "drafts": [],
                "predictions": [],
                "data": {"text": row["input"]},
                "meta": {},
                "created_at": "2024-05-01T08:00:00Z",
                "project": 1,
            }
        )
    return json_file(folder, "project-1.json", records, indent=None)


def label_studio_min(folder: Path, rows: Rows) -> Path:
    records = [
        {
            "text": row["input"],
            "id": number,
            "sentiment": row["label"],
            "annotator": 1,
            "annotation_id": number,
            "created_at": "2024-05-01T08:00:00Z",
            "updated_at": "2024-05-01T08:00:00Z",
            "lead_time": 2.9,
        }
        for number, row in enumerate(rows, 1)
    ]
    return json_file(folder, "project-1-min.json", records, indent=None)


def doccano(folder: Path, rows: Rows) -> Path:
    records = [
        {"id": n, "text": row["input"], "label": [row["label"]], "Comments": []} for n, row in enumerate(rows, 1)
    ]
    return lines_file(folder, "all.jsonl", records)


def prodigy(folder: Path, rows: Rows) -> Path:
    options = [{"id": name, "text": name.title()} for name in LABELS]
    records = [
        {
            "text": row["input"],
            "_input_hash": n,
            "_task_hash": -n,
            "options": options,
            "accept": [row["label"]],
            "_view_id": "choice",
            "answer": "accept",
            "_timestamp": 1714550400,
            "config": {"choice_style": "single"},
        }
        for n, row in enumerate(rows, 1)
    ]
    return lines_file(folder, "annotations.jsonl", records)


def argilla(folder: Path, rows: Rows) -> Path:
    records = [
        {
            "id": f"a{n}", "status": "completed", "fields": {"text": row["input"]}, "metadata": {}, "suggestions": {},
            "responses": {"label": [{"value": row["label"], "user_id": "u1", "status": "submitted"}]}, "vectors": {},
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    return json_file(folder, "records.json", records)


CLASSIFICATION: dict[str, Write] = {
    write.__name__: write
    for write in (
        csv_utf8,
        csv_excel,
        tsv_utf16,
        xlsx,
        ods,
        parquet,
        saved_data_set,
        parquet_folder,
        json_array,
        json_objects,
        json_wrapped,
        nested_lines,
        messages,
        sharegpt,
        alpaca,
        alpaca_without_input,
        prompts,
        label_studio,
        label_studio_min,
        doccano,
        prodigy,
        argilla,
    )
}
GENERATION: dict[str, Write] = {
    write.__name__: write for write in (messages, sharegpt, alpaca, alpaca_without_input, prompts)
}
