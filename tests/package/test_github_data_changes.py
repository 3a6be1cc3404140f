"""Two checkouts against each other: every row counted once, the base however broken, no text kept."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import raw_rows
from finetune.config.project import Project, load_project
from finetune.data.records import RecordReader
from finetune.data.splits import SPLITS, assign, split_key
from finetune.errors import Problems
from finetune.github.data_pr.changes import compare, compare_rows
from finetune.github.data_pr.packed_rows import Checkout
from finetune.github.data_pr.schema import Changes, FileChange, Relabelled, RowChanges, Tally
from finetune.paths import Paths

Rows = list[dict[str, Any]]
Compare = Callable[..., Changes]


@pytest.fixture
def changes(make_project: Callable[..., Project], tmp_path: Path) -> Compare:
    """`changes(rows before, rows after, task_type, before={…}, after={…})` with sections of the configurations."""

    def run(
        old: Rows,
        new: Rows,
        task_type: str = "classification",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> Changes:
        base = make_project(task_type, rows=old, root=tmp_path / "base", **(before or {}))
        head = make_project(task_type, rows=new, root=tmp_path / "head", **(after or {}))
        return compare(head, base.paths.root)

    return run


def rows_of(found: Changes) -> RowChanges:
    assert found.rows is not None
    return found.rows


def totals(found: Changes) -> tuple[int, int, int]:
    total = rows_of(found).total
    return total.added, total.removed, total.changed


def named(count: int = 60) -> Rows:
    return [{"id": f"row-{number}", **row} for number, row in enumerate(raw_rows("classification", count))]


def split_of(project: Project) -> list[str]:
    """The split of each row of rows.jsonl, in their order."""
    reader = RecordReader(project.task, Problems())
    records = reader.read(project.paths.raw / "rows.jsonl", "rows.jsonl")
    return [assign(split_key(record), project.benchmark.splits) for record in records]


def test_the_same_rows_in_another_order_and_in_other_files_are_no_change(changes, make_project, tmp_path):
    rows = raw_rows("classification")
    changes(rows, rows)
    head = make_project(rows=rows[:0:-2], root=tmp_path / "head")
    lines = [json.dumps(row) + "\n" for row in rows if row not in rows[:0:-2]]
    (head.paths.raw / "more.jsonl").write_text("".join(lines), encoding="utf-8")
    found = compare(head, tmp_path / "base")
    assert totals(found) == (0, 0, 0)
    assert rows_of(found).total == Tally(before=60, after=60)
    assert [file.name for file in found.files] == ["more.jsonl", "rows.jsonl"]
    assert not rows_of(found).phrases


def test_a_row_with_an_id_stays_the_same_row_whatever_else_changes(changes):
    rows = named()
    after = [dict(row) for row in rows[2:]]
    after[0]["input"] += ", still"
    after[1]["label"] = "billing" if after[1]["label"] != "billing" else "account"
    after[2]["group"] = "g"
    found = changes(rows, [*after, {"id": "new", "input": "quite another text", "label": "billing"}])
    assert totals(found) == (1, 2, 3)
    assert (rows_of(found).texts, rows_of(found).answers, rows_of(found).groups) == (1, 1, 1)


def test_a_row_without_an_id_is_known_by_its_normalised_input(changes):
    rows = raw_rows("classification")
    after = [dict(row) for row in rows]
    after[0]["input"] = after[0]["input"].upper() + " "
    after[1]["input"] += " really"
    found = changes(rows, after)
    assert totals(found) == (1, 1, 1)
    assert rows_of(found).texts == 1


def test_repeated_inputs_are_counted_one_by_one(changes):
    rows = raw_rows("classification")
    assert totals(changes([*rows, rows[0], rows[0]], [*rows, rows[0]])) == (0, 1, 0)
    assert totals(changes(rows, [*rows, rows[0], rows[0]])) == (2, 0, 0)


def test_giving_every_row_an_id_changes_no_row(changes):
    found = changes(raw_rows("classification"), named())
    assert totals(found) == (0, 0, 0)
    assert rows_of(found).renamed == 60
    assert not rows_of(found).test.affected


def test_classes_add_up_and_relabelled_pairs_are_counted(changes):
    rows = named()
    after = [dict(row) for row in rows if row["id"] != "row-1"]
    moved = [row for row in after if row["label"] == "billing"][:4]
    for row in moved:
        row["label"] = "account"
    after.append({"id": "x", "input": "something new", "label": "shipping"})
    found = rows_of(changes(rows, after))
    assert found.relabelled == [Relabelled("billing", "account", 4)]
    assert found.relabelled_rows == found.answers == 4
    tallies = {name: (t.before, t.after, t.added, t.removed, t.gained, t.lost) for name, t in found.classes.items()}
    assert tallies == {
        "billing": (20, 16, 0, 0, 0, 4),
        "shipping": (20, 20, 1, 1, 0, 0),
        "account": (20, 24, 0, 0, 4, 0),
    }


def test_answers_that_no_task_knows_are_one_class_without_a_name(changes):
    rows = named()
    after = [{**row, "label": f"made up {number}"} for number, row in enumerate(rows[:3])]
    found = rows_of(changes(rows, [*after, *rows[3:]]))
    assert (found.classes[""].after, found.classes[""].gained) == (3, 3)
    assert {pair.after for pair in found.relabelled} == {""}


def test_labels_of_either_side_are_named(changes):
    labels = [{"name": name, "description": name} for name in ("billing", "shipping", "returns")]
    found = changes(
        raw_rows("classification"), raw_rows("classification"), after={"task": {"output": {"labels": labels}}}
    )
    assert (found.labels_added, found.labels_removed) == (["returns"], ["account"])
    assert (rows_of(found).classes["account"].before, rows_of(found).classes["account"].after) == (20, 20)


def test_an_extraction_row_counts_for_every_type_in_it(changes):
    rows = [{"id": f"r{number}", **row} for number, row in enumerate(raw_rows("extraction"))]
    after = [dict(row) for row in rows]
    after[0]["entities"] = after[0]["entities"][:1]
    after[1]["entities"] = []
    found = rows_of(changes(rows, after, "extraction"))
    lost = {name: tally.lost for name, tally in found.classes.items()}
    assert lost == {"product": 2, "quantity": 1}
    assert found.answers == 2
    assert not found.relabelled


def test_generation_has_no_classes(changes):
    rows = raw_rows("generation")
    after = [{**rows[0], "output": "Something else."}, *rows[1:]]
    found = rows_of(changes(rows, after, "generation"))
    assert (found.total.changed, found.classes) == (1, {})


def test_what_happens_to_the_rows_of_the_test_set_is_said_with_their_places(changes, make_project):
    rows = raw_rows("classification")
    split = split_of(make_project(rows=rows))
    test, train = [n for n, name in enumerate(split) if name == "test"], split.index("train")
    assert len(test) > 3
    after = [dict(row) for row in rows]
    after[test[1]]["label"] = "billing" if after[test[1]]["label"] != "billing" else "account"
    after[train]["label"] = "billing" if after[train]["label"] != "billing" else "account"
    del after[test[0]]
    found = rows_of(changes(rows, after))
    assert (found.test.removed, found.test.changed, found.test.moved) == (1, 1, 0)
    assert found.test.places == [
        f"data/raw/rows.jsonl:{test[1]}: changed",
        f"data/raw/rows.jsonl:{test[0] + 1} before the change: removed",
    ]
    assert found.splits["test"] == Tally(len(test), len(test) - 1, 0, 1, 1)
    assert found.splits["train"].changed == 1


def test_another_salt_moves_rows_without_changing_them(changes, make_project):
    rows, salt = raw_rows("classification", 90), {"benchmark": {"splits": {"salt": "another"}}}
    before, after = split_of(make_project(rows=rows)), split_of(make_project(rows=rows, **salt))
    found = rows_of(changes(rows, rows, after=salt))
    assert (found.total.added, found.total.removed, found.total.changed) == (0, 0, 0)
    assert found.moved == sum(old != new for old, new in zip(before, after, strict=True))
    left = [(n, new) for n, (old, new) in enumerate(zip(before, after, strict=True), 1) if old == "test" != new]
    assert found.test.affected == found.test.moved == len(left) > 3
    assert found.test.places == [f"data/raw/rows.jsonl:{n}: now in {new}" for n, new in left[:20]]
    for split, tally in found.splits.items():
        assert (tally.before, tally.after) == (before.count(split), after.count(split))
        assert not (tally.added or tally.removed or tally.changed)


def test_another_group_is_no_other_test_row_while_it_stays_in_the_test_set(changes, make_project):
    grouped = [{"id": "x", "input": "one text", "label": "billing", "group": f"g{n}"} for n in range(40)]
    test = [row for row in grouped if split_of(make_project(rows=[row])) == ["test"]][:2]
    found = rows_of(changes(test[:1], test[1:]))
    assert (found.total.changed, found.groups, found.test.affected) == (1, 1, 0)


def test_many_places_are_counted_and_few_are_listed(changes):
    found = rows_of(changes(raw_rows("classification", 300), raw_rows("classification", 10)))
    assert found.test.removed > 30
    assert len(found.test.places) == 20


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project()


IDS = st.lists(st.integers(0, 12), unique=True, max_size=10)
TEXTS = st.sampled_from(("alpha", "Alpha", "beta", "gamma delta"))
LABELS = st.sampled_from(("billing", "shipping", "account"))
GROUPS = st.sampled_from((None, "a", "b"))


@st.composite
def side(draw: st.DrawFn) -> Rows:
    rows = []
    for number in draw(IDS):
        row = {"id": f"r{number}", "input": f"{draw(TEXTS)} {number}", "label": draw(LABELS)}
        rows.append(row | ({"group": group} if (group := draw(GROUPS)) else {}))
    return rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=side(), new=side())
def test_every_count_is_that_of_a_plain_comparison(project, tmp_path, old, new):
    def checkout(name: str, rows: Rows) -> Checkout:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name / "data" / "raw" / "rows.jsonl").write_text(text, encoding="utf-8")
        return Checkout(Paths(tmp_path / name), project.task, project.benchmark.splits, classes)

    for name in ("base", "head"):
        (tmp_path / name / "data" / "raw").mkdir(parents=True, exist_ok=True)
    classes = {name: number for number, name in enumerate(("", *project.task.label_names))}
    found = compare_rows(checkout("base", old), checkout("head", new))
    before, after = ({row["id"]: row for row in rows} for rows in (old, new))
    both = before.keys() & after.keys()

    def differs(*fields: str) -> set[str]:
        return {key for key in both if any(before[key].get(f) != after[key].get(f) for f in fields)}

    total = found.total
    assert (total.before, total.after) == (len(old), len(new))
    assert (total.added + found.renamed, total.removed + found.renamed) == (len(new) - len(both), len(old) - len(both))
    assert total.changed == len(differs("input", "label", "group"))
    assert (found.texts, found.answers, found.groups) == tuple(len(differs(f)) for f in ("input", "label", "group"))
    pairs = Counter((before[key]["label"], after[key]["label"]) for key in differs("label"))
    assert {(pair.before, pair.after): pair.rows for pair in found.relabelled} == pairs
    for name, tally in found.classes.items():
        assert tally.before == sum(row["label"] == name for row in old)
        assert tally.after == sum(row["label"] == name for row in new)
        assert tally.after == tally.before + tally.added - tally.removed + tally.gained - tally.lost
    for field in ("before", "after", "added", "removed", "changed"):
        assert sum(getattr(found.splits[split], field) for split in SPLITS) == getattr(total, field)


def test_the_result_survives_its_file_format(changes):
    found = changes(named(), named(30), after={"benchmark": {"bootstrap": {"samples": 200}}})
    assert msgspec.json.decode(msgspec.json.encode(found), type=Changes) == found


# What may lie at the base.


def test_broken_rows_are_counted_on_both_sides_and_compared_on_none(changes, tmp_path):
    rows = raw_rows("classification")
    changes(rows, rows)
    base, head = (tmp_path / side / "data" / "raw" / "rows.jsonl" for side in ("base", "head"))
    base.write_bytes(base.read_bytes() + b'{"input": "half\n\xff\xfe\n[]\nnull\n{"input": 1, "label": "billing"}\n{}\n')
    head.write_bytes(b'{"input": "half\n' + head.read_bytes())
    found = compare(load_project(tmp_path / "head"), tmp_path / "base")
    assert totals(found) == (0, 0, 0)
    assert (rows_of(found).unreadable_before, rows_of(found).unreadable_after) == (6, 1)


@pytest.mark.parametrize("ruin", ["no data", "link", "file", "pointer", "utf-16", "folder", "empty repository"])
def test_whatever_lies_at_the_base_the_comparison_ends(changes, make_project, tmp_path, ruin):
    rows = raw_rows("classification")
    changes(rows, rows)
    raw = tmp_path / "base" / "data" / "raw"
    if ruin in ("no data", "link", "file"):
        shutil.rmtree(raw)
    if ruin == "link":
        raw.symlink_to(tmp_path / "head" / "data" / "raw")
    elif ruin == "file":
        raw.write_text("no folder", encoding="utf-8")
    elif ruin == "pointer":
        (raw / "rows.jsonl").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    elif ruin == "utf-16":
        (raw / "rows.jsonl").write_bytes("{}\n".encode("utf-16"))
    elif ruin == "folder":
        (raw / "rows.jsonl").unlink()
        (raw / "rows.jsonl").mkdir()
    elif ruin == "empty repository":
        shutil.rmtree(tmp_path / "base")
        (tmp_path / "base").mkdir()
    found = compare(make_project(rows=rows, root=tmp_path / "head"), tmp_path / "base")
    assert totals(found) == (60, 0, 0)
    assert rows_of(found).unread_files_before == (ruin in ("link", "pointer", "utf-16", "folder"))


def test_a_base_with_a_broken_configuration_is_read_by_the_new_one(changes, make_project, tmp_path):
    rows = raw_rows("classification")
    changes(rows, rows)
    (tmp_path / "base" / "task_definition.yaml").write_text("a: [", encoding="utf-8")
    found = compare(make_project(rows=rows[1:], root=tmp_path / "head"), tmp_path / "base")
    assert totals(found) == (0, 1, 0)
    assert found.settings_unread == ["task_definition.yaml"]


def test_a_renamed_field_is_a_change_of_settings_and_not_of_rows(changes):
    rows = raw_rows("classification")
    after = [{"text": row["input"], "label": row["label"]} for row in rows]
    found = changes(rows, after, after={"task": {"input": {"field": "text"}}})
    assert totals(found) == (0, 0, 0)
    assert [(s.key, s.before, s.after) for s in found.settings] == [("input.field", '"input"', '"text"')]


def test_another_task_type_is_no_crash(changes, make_project, tmp_path):
    make_project("extraction", root=tmp_path / "base")
    found = compare(make_project(root=tmp_path / "head"), tmp_path / "base")
    assert totals(found) == (60, 60, 0)


def test_files_are_new_removed_changed_or_renamed(changes, make_project, tmp_path):
    rows = raw_rows("classification")
    changes(rows, rows[1:])
    for root, names in (("base", ("gone", "old name", "same")), ("head", ("here", "new name", "same"))):
        for name, label in zip(names, ("billing", "account", "shipping"), strict=True):
            text = json.dumps({"input": f"{label} {name if label == 'billing' else ''}", "label": label}) + "\n"
            (tmp_path / root / "data" / "raw" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    found = compare(make_project(rows=rows[1:], root=tmp_path / "head"), tmp_path / "base")
    assert found.files == [
        FileChange("gone.jsonl", 1, None),
        FileChange("here.jsonl", None, 1),
        FileChange("new name.jsonl", 1, 1, "old name.jsonl"),
        FileChange("rows.jsonl", 60, 59),
    ]


def test_a_file_name_that_is_no_utf_8_is_no_data_file(changes, make_project, tmp_path):
    changes(named(), named())
    name = os.path.join(os.fsencode(tmp_path), b"head/data/raw/\xffx.jsonl")
    with open(name, "wb") as file:
        file.write(b'{"input": "one more", "label": "billing"}\n')
    found = compare(make_project(rows=named(), root=tmp_path / "head"), tmp_path / "base")
    assert found.files == []  # step 01 refuses it by name
    assert msgspec.json.decode(msgspec.json.encode(found), type=Changes) == found


def test_no_text_is_kept(make_project, tmp_path):
    """The same number of rows costs the same memory, however long their texts are."""

    def peak(characters: int) -> int:
        rows = [{"id": str(n), "input": f"{n} " + "w" * characters, "label": "billing"} for n in range(100)]
        task = {"input": {"max_chars": 100_000}}
        base = make_project(rows=rows, task=task, root=tmp_path / "base")
        head = make_project(rows=rows[10:], task=task, root=tmp_path / "head")
        tracemalloc.start()
        found = compare(head, base.paths.root)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert totals(found) == (0, 10, 0)
        return size

    short, long = peak(10), peak(20_000)
    assert long - short < 100_000 < 100 * 20_000
