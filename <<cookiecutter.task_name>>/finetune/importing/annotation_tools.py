"""Exports of labelling tools → (text, answer): Label Studio, Prodigy, Argilla, doccano."""

from __future__ import annotations

from typing import Any

from finetune.data.columns import guess_text
from finetune.importing.sources import Refused, Value

_LABEL_KEYS = ("choices", "labels", "taxonomy", "text", "rating")
NOT_ANNOTATED, REJECTED, DISAGREE = ("E187", "not annotated"), ("E187", "rejected"), ("E188", "annotators disagree")


def label_studio(record: Value, task_type: str, column: str) -> tuple[Any, Any]:
    """The text of `data` and what the annotations say; several annotators must agree."""
    data = record.get("data")
    if not isinstance(data, dict):
        raise Refused("E184", 'no "data"')
    done = record.get("annotations", record.get("completions")) or []
    results = [a.get("result") or [] for a in done if isinstance(a, dict) and not a.get("was_cancelled")]
    if not results:
        raise Refused(*NOT_ANNOTATED)
    if task_type != "extraction":
        results = [result for result in results if result]
        if not results:
            raise Refused(*NOT_ANNOTATED)
    answers = [_result(result, task_type) for result in results]
    if any(answer != answers[0] for answer in answers[1:]):
        raise Refused(*DISAGREE)
    return (None if column else _only_text(data)), answers[0]


def _result(result: Any, task_type: str) -> Any:
    regions = result if isinstance(result, list) else []
    results = [region.get("value") for region in regions if isinstance(region, dict)]
    values: list[dict[str, Any]] = [value for value in results if isinstance(value, dict)]
    if task_type == "extraction":
        spans = [
            {k: v for k, v in value.items() if k in ("start", "end", "text", "labels")}
            for value in values
            if "start" in value
        ]
        return sorted(spans, key=lambda span: (str(span.get("start")), str(span.get("labels"))))
    found: list[Any] = []
    for value in values:
        said = next((value[key] for key in _LABEL_KEYS if key in value and "start" not in value), None)
        found += said if isinstance(said, list) else [said] if said is not None else []
    if not found:
        raise Refused("E170", "an annotation of another kind", "spans where a label or a text is wanted")
    return sorted(found, key=str)


def _only_text(data: Value) -> Any:
    texts = {name: value for name, value in data.items() if isinstance(value, str) and value.strip()}
    if len(texts) > 1:
        named = guess_text(list(texts))
        if len(named) != 1:
            raise Refused("E167", "several texts", f"--input data.{' or --input data.'.join(list(texts)[:5])}")
        return texts[named[0]]
    if not texts:
        raise Refused("E124", "no text")
    return next(iter(texts.values()))


def prodigy(record: Value, task_type: str) -> tuple[Any, Any]:
    """The text, and the accepted choice, the accepted label, or the spans."""
    answer = record.get("answer", "accept")
    text = record.get("text")
    if answer != "accept":
        raise Refused(*(REJECTED if answer == "reject" else NOT_ANNOTATED))
    if task_type == "extraction":
        spans = record.get("spans") or []
        if not isinstance(spans, list):
            raise Refused("E184", '"spans" is no list')
        return text, [
            {k: v for k, v in s.items() if k in ("start", "end", "label")} for s in spans if isinstance(s, dict)
        ]
    if isinstance(record.get("accept"), list):
        names = {}
        for option in record.get("options") or []:
            if isinstance(option, dict):
                names[option.get("id")] = option.get("text") or option.get("id")
        chosen = record["accept"]
        # The id is what scripts use; the text is what people read. Whichever is a label decides later.
        return text, [Choice(str(one), str(names.get(one, one))) for one in chosen]
    if "label" in record:
        return text, record["label"]
    if isinstance(record.get("user_input"), str):
        return text, record["user_input"]
    raise Refused(*NOT_ANNOTATED)


class Choice(str):
    """A chosen option: its id, and `text`, what it was shown as."""

    text: str

    def __new__(cls, identifier: str, text: str) -> Choice:
        choice = super().__new__(cls, identifier)
        choice.text = text
        return choice


def argilla(record: Value, column: str) -> tuple[Any, Any]:
    """The text of `fields` and the submitted responses, of the record's form or of the flat one of to_datasets."""
    if "annotation" in record and "fields" not in record:  # before 2.0
        inputs = record.get("inputs")
        text = record.get("text") or (_only_text(inputs) if isinstance(inputs, dict) else None)
        if record.get("status") == "Discarded":
            raise Refused(*REJECTED)
        if record["annotation"] is None:
            raise Refused(*NOT_ANNOTATED)
        return text, record["annotation"]
    if isinstance(record.get("fields"), dict):
        responses = record.get("responses")
        said = _submitted(responses if isinstance(responses, dict) else {})
        text = _only_text(record["fields"])
    else:
        said = {}
        for key, value in record.items():
            if key.endswith(".responses") and value:
                states = record.get(f"{key}.status") or ["submitted"] * len(value)
                said[key.removesuffix(".responses")] = [
                    v for v, s in zip(value, states, strict=False) if s == "submitted"
                ]
        text = _only_text({k: v for k, v in record.items() if "." not in k and k not in ("id", "status", "_server_id")})
    said = {name: values for name, values in said.items() if values}
    if not said:
        raise Refused(*NOT_ANNOTATED)
    if len(said) > 1:
        raise Refused("E167", "several questions", "export one of them")
    values = next(iter(said.values()))
    if any(value != values[0] for value in values[1:]):
        raise Refused(*DISAGREE)
    return text, values[0]


def _submitted(responses: Value) -> dict[str, list[Any]]:
    found = {}
    for name, given in responses.items():
        given = given if isinstance(given, list) else [given]
        found[name] = [
            one.get("value") for one in given if isinstance(one, dict) and one.get("status", "submitted") == "submitted"
        ]
    return found


def doccano(record: Value) -> tuple[Any, Any]:
    """The text, and its labels or spans, of either generation of the export."""
    text = record.get("text", record.get("data"))
    for key in ("label", "labels", "entities", "cats"):
        if isinstance(record.get(key), list):
            return text, record[key]
    raise Refused(*NOT_ANNOTATED)
