"""Rows with entities as each tool writes them; see exports.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exports import Rows, Write, json_file, lines_file, text_file


def spans_of(row: dict[str, Any], utf16: bool = False) -> list[tuple[int, int, str]]:
    found = []
    for entity in row["entities"]:
        start = row["input"].index(entity["text"])
        end = start + len(entity["text"])
        if utf16:
            start, end = (len(row["input"][:at].encode("utf-16-le")) // 2 for at in (start, end))
        found.append((start, end, entity["type"]))
    return found


def label_studio_spans(folder: Path, rows: Rows) -> Path:
    """Offsets as the browser counts them: in UTF-16 units."""
    records = []
    for number, row in enumerate(rows, 1):
        result = [
            {
                "value": {"start": start, "end": end, "text": entity["text"], "labels": [kind]},
                "id": str(start),
                "from_name": "label",
                "to_name": "text",
                "type": "labels",
                "origin": "manual",
            }
            for (start, end, kind), entity in zip(spans_of(row, utf16=True), row["entities"], strict=True)
        ]
        records.append({"id": number, "data": {"text": row["input"]}, "annotations": [{"id": 1, "result": result}]})
    return json_file(folder, "project-2.json", records)


def doccano_spans(folder: Path, rows: Rows) -> Path:
    return lines_file(
        folder, "admin.jsonl", [{"id": n, "text": r["input"], "label": spans_of(r)} for n, r in enumerate(rows)]
    )


def doccano_relations(folder: Path, rows: Rows) -> Path:
    records = [
        {
            "id": n,
            "text": row["input"],
            "relations": [],
            "Comments": [],
            "entities": [
                {"id": k, "label": kind, "start_offset": start, "end_offset": end}
                for k, (start, end, kind) in enumerate(spans_of(row))
            ],
        }
        for n, row in enumerate(rows)
    ]
    return lines_file(folder, "admin.jsonl", records)


def prodigy_spans(folder: Path, rows: Rows) -> Path:
    records = [
        {
            "text": row["input"],
            "_input_hash": n,
            "_task_hash": -n,
            "answer": "accept",
            "tokens": [],
            "spans": [{"start": s, "end": e, "token_start": 0, "label": t} for s, e, t in spans_of(row)],
        }
        for n, row in enumerate(rows, 1)
    ]
    return lines_file(folder, "ner.jsonl", records)


def _tagged(row: dict[str, Any], scheme: str) -> list[tuple[str, str]]:
    tags = {}
    for entity in row["entities"]:
        words = entity["text"].split()
        for place, word in enumerate(words):
            last = place == len(words) - 1
            prefix = ("U" if last else "B") if place == 0 else ("L" if last else "I")
            if scheme == "BIO":
                prefix = {"U": "B", "L": "I"}.get(prefix, prefix)
            tags[word] = f"{prefix}-{entity['type']}"
    return [(word, tags.get(word, "O")) for word in row["input"].split(" ")]


def conll(folder: Path, rows: Rows) -> Path:
    """CoNLL 2003: four columns, the tag last."""
    sentences = ["\n".join(f"{word} NN B-NP {tag}" for word, tag in _tagged(row, "BIO")) for row in rows]
    return text_file(folder, "train.conll", "-DOCSTART- -X- -X- O\n\n" + "\n\n".join(sentences) + "\n")


def bilou(folder: Path, rows: Rows) -> Path:
    sentences = ["\n".join(f"{word}\t{tag}" for word, tag in _tagged(row, "BILOU")) for row in rows]
    return text_file(folder, "train.txt", "\n\n".join(sentences))


def tokens_parquet(folder: Path, rows: Rows) -> Path:
    """conll2003 as a Hugging Face data set: tags are numbers, their names in the features."""
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    tagged = [_tagged(row, "BIO") for row in rows]
    names = sorted({tag for row in tagged for _, tag in row})
    features = Features({"tokens": Sequence(Value("string")), "ner_tags": Sequence(ClassLabel(names=names))})
    columns = {
        "tokens": [[word for word, _ in row] for row in tagged],
        "ner_tags": [[names.index(tag) for _, tag in row] for row in tagged],
    }
    Dataset.from_dict(columns, features=features).to_parquet(folder / "ner.parquet")
    return folder / "ner.parquet"


def brat(folder: Path, rows: Rows) -> Path:
    (folder / "brat").mkdir()
    for number, row in enumerate(rows):
        marks = [
            f"T{k}\t{kind} {start} {end}\t{row['input'][start:end]}"
            for k, (start, end, kind) in enumerate(spans_of(row), 1)
        ]
        text_file(folder / "brat", f"doc{number:03}.txt", row["input"])
        text_file(
            folder / "brat", f"doc{number:03}.ann", "\n".join([*marks, "#1\tAnnotatorNotes T1\tlooks right"]) + "\n"
        )
    return folder / "brat"


EXTRACTION: dict[str, Write] = {
    write.__name__: write
    for write in (
        label_studio_spans,
        doccano_spans,
        doccano_relations,
        prodigy_spans,
        conll,
        bilou,
        tokens_parquet,
        brat,
    )
}
