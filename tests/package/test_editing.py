"""Values in a YAML file that people wrote are changed, and nothing else is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.config.editing import Scalar, edited
from finetune.config.strict_yaml import parse_yaml
from finetune.errors import Problems

FILE = """\
# how it is trained
version: 1

base_model:
  id:   'owner/name'        # the model
  revision: 12fd25f         # a commit
  license: "apache-2.0"
  # thinking, see below

method: lora     # or qlora
batch: {per_device: 4, effective: 8}   # rows
checks:
    epochs: [2, 10]
note: |
  two
  lines

last:
"""


def values(text: str) -> dict[str, object]:
    problems = Problems()
    located = parse_yaml(text, "file", problems)
    assert located and not problems.all, problems.render()
    return located.values


def changed(old: str, new: str) -> list[tuple[str, str]]:
    pairs = zip(old.split("\n"), new.split("\n"), strict=True)
    return [(before, after) for before, after in pairs if before != after]


def test_only_the_value_changes_and_the_comment_stays_in_its_column() -> None:
    assert changed(FILE, edited(FILE, {"base_model.id": "a/b"})) == [
        ("  id:   'owner/name'        # the model", "  id:   'a/b'               # the model")
    ]
    assert changed(FILE, edited(FILE, {"base_model.id": "some/longer-name-than-there-is-room-for"})) == [
        ("  id:   'owner/name'        # the model", "  id:   'some/longer-name-than-there-is-room-for'  # the model")
    ]
    assert changed(FILE, edited(FILE, {"batch.per_device": 2})) == [
        ("batch: {per_device: 4, effective: 8}   # rows", "batch: {per_device: 2, effective: 8}   # rows")
    ]


@pytest.mark.parametrize("same", [{"method": "lora"}, {"base_model.id": "owner/name"}, {"version": 1}, {"last": None}])
def test_the_same_value_changes_no_byte(same: dict[str, Scalar]) -> None:
    assert edited(FILE, same) == FILE


def test_a_missing_key_stands_in_its_mapping() -> None:
    new = edited(FILE, {"base_model.enable_thinking": False, "batch.batching": "packed", "seed": 3})
    assert '  license: "apache-2.0"\n  enable_thinking: false\n  # thinking, see below\n' in new
    assert "{per_device: 4, effective: 8, batching: packed}   # rows" in new
    assert new.endswith("last:\nseed: 3\n")
    assert set(FILE.split("\n")) - set(new.split("\n")) == {"batch: {per_device: 4, effective: 8}   # rows"}


def test_empty_and_block_values_are_replaced_whole() -> None:
    new = edited(FILE, {"last": "x", "note": "one line"})
    assert new.endswith('note: "one line"\n\nlast: x\n')
    assert values(new)["note"] == "one line"


def test_line_ends_a_byte_order_mark_and_a_missing_last_line_end_stay() -> None:
    windows = "\ufeff" + FILE.replace("\n", "\r\n")
    new = edited(windows, {"base_model.id": "a/b", "base_model.enable_thinking": None})
    assert new.startswith("\ufeff#") and not re.search(r"(?<!\r)\n", new)
    assert edited("a: 1", {"a": 2}) == "a: 2" and edited("a: 1", {"b": 2}) == "a: 1\nb: 2\n"


TEXTS = (
    "0" * 40,
    "1" * 40,
    "12e4567",
    "true",
    "null",
    "yes",
    "1.5",
    "0x1f",
    "",
    "a: b",
    "#x",
    "it's",
    'say "x"',
    "a\\b",
)


@pytest.mark.parametrize("value", [*TEXTS, "漢字", True, 7, None])
@pytest.mark.parametrize("key", ["base_model.id", "base_model.revision", "base_model.license", "base_model.new"])
def test_what_is_written_is_read_back(key: str, value: Scalar) -> None:
    assert values(edited(FILE, {key: value}))["base_model"][key.partition(".")[2]] == value  # type: ignore[index]


def test_a_key_that_leads_nowhere_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        edited(FILE, {"method.r": 1})
    with pytest.raises(KeyError):
        edited(FILE, {"no.such": 1})


_KEYS = st.sampled_from(["a", "b", "c", "d"])
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text("abc019.-_ #:'\"é字", max_size=12))


@st.composite
def files(draw: st.DrawFn) -> str:
    """Mappings of scalars in many spellings, with comments and empty lines anywhere."""
    lines = []
    for section in draw(st.lists(_KEYS, unique=True, min_size=1)):
        indent = draw(st.sampled_from(["  ", "    ", "   "]))
        lines.append(f"{section}:" + draw(st.sampled_from(["", "  # about it", " "])))
        for key in draw(st.lists(_KEYS, unique=True, min_size=1)):
            spelled = draw(st.sampled_from(["1", "x", "'x'", '"x y"', "", "null", "a/b", "1.5"]))
            lines.append(f"{indent}{key}: {spelled}" + draw(st.sampled_from(["", "   # why", "  "])))
            lines += draw(st.lists(st.sampled_from(["", f"{indent}# note"]), max_size=2))
        lines += draw(st.lists(st.sampled_from(["", "# of the next"]), max_size=2))
    return draw(st.sampled_from(["\n", "\r\n"])).join([*lines, ""])


@given(files(), st.dictionaries(st.tuples(_KEYS, _KEYS), _SCALARS, min_size=1, max_size=3))
def test_whatever_the_file_the_rest_stays(text: str, wanted: dict[tuple[str, str], Scalar]) -> None:
    before = values(text)
    edits = {f"{section}.{key}": value for (section, key), value in wanted.items() if section in before}
    new = edited(text, edits)
    expected = {name: dict(part) for name, part in before.items()}  # type: ignore[call-overload]
    for (section, key), value in wanted.items():
        if section in before:
            expected[section][key] = value
    assert values(new) == expected
    assert re.findall(r"# [a-z ]+", new) == re.findall(r"# [a-z ]+", text) or any("#" in str(v) for v in edits.values())
    touched = {key for _, key in wanted}
    kept = [line for line in text.splitlines() if line.strip().partition(":")[0] not in touched]
    assert [line for line in new.splitlines() if line.strip().partition(":")[0] not in touched] == kept
