"""What a change does, as sections: rows, test set, policy first, then classes, files, settings and code."""

from __future__ import annotations

from finetune.data.report.facts import count
from finetune.data.splits import SPLITS
from finetune.github.data_pr.schema import Changes, RowChanges, Setting
from finetune.github.data_pr.tables import LISTED, clipped, diff, lines, long_table, name, table
from finetune.markdown import folded

_SETTINGS = 30


def changed(changes: Changes) -> list[str]:
    """The sections; none where nothing was compared."""
    rows = changes.rows
    if not changes.compared or rows is None:
        return []
    parts = ["### What changed", _row_line(rows), *_test_set(rows), *_policy(changes)]
    if any((rows.total.added, rows.total.removed, rows.total.changed, rows.moved)):
        tallies = [*((split, rows.splits[split]) for split in SPLITS if split in rows.splits), ("all", rows.total)]
        cells = [(split, t.before, t.after, t.added, t.removed, t.changed) for split, t in tallies]
        parts.append(table(("split", "before", "after", "added", "removed", "changed"), cells))
    sections = ["\n\n".join(parts), *_phrases(rows), *_classes(changes, rows), *_files(changes)]
    return [*sections, *_settings(changes)]


def _row_line(rows: RowChanges) -> str:
    total = rows.total
    text = "No row changed."
    if total.added or total.removed or total.changed:
        text = f"**{total.added:,} added, {total.removed:,} removed, {total.changed:,} changed**"
        kinds = ((rows.answers, "the answer"), (rows.texts, "the text"), (rows.groups, "the group"))
        if total.changed:
            text += " (" + ", ".join(f"{what} of {number:,}" for number, what in kinds if number) + ")"
        text += f"; {total.before:,} → {total.after:,} rows."
    if rows.renamed:
        text += f" {count(rows.renamed, 'row')} got another id and nothing else."
    if rows.moved:
        text += f" {count(rows.moved, 'row')} moved to another split."
    if rows.unreadable_before or rows.unreadable_after:
        text += (
            f" Not compared, since they break the rules: {count(rows.unreadable_before, 'row')} before, "
            f"{rows.unreadable_after:,} after."
        )
    if rows.unread_files_before:
        text += f" {count(rows.unread_files_before, 'file')} before the change cannot be read."
    return text


def _test_set(rows: RowChanges) -> list[str]:
    test = rows.test
    if not test.affected:
        return []
    kinds = ((test.removed, "removed"), (test.changed, "with another text or answer"), (test.moved, "in another split"))
    what = ", ".join(f"{number:,} {how}" for number, how in kinds if number)
    before = rows.splits["test"].before if "test" in rows.splits else test.affected
    places = test.places[:LISTED]
    return [
        f"> [!WARNING]\n> **The test set changes.** Of its {count(before, 'row')}: {what}. "
        "Scores from before and after are not comparable.",
        folded("Which test rows", lines(places, test.affected - len(places))),
    ]


def _policy(changes: Changes) -> list[str]:
    policy = sum(setting.policy for setting in changes.settings)
    parts = [f"{count(policy, 'setting')} of what is demanded"] if policy else []
    parts += [f"{count(len(changes.code), 'file')} of the pipeline's own code"] if changes.code else []
    parts += [f"{name(path)} is broken on one side" for path in changes.settings_unread[:4]]
    if not parts:
        return []
    shown = [
        f"> [!IMPORTANT]\n> **Policy changes:** {', '.join(parts)}. "
        "Until this is merged, results are judged by the default branch's values."
    ]
    if chosen := [setting for setting in changes.settings if setting.policy]:
        shown.append(_diff(chosen))
    if changes.code:
        listed = lines(changes.code[:LISTED], len(changes.code) - LISTED)
        shown.append(folded(f"Code: {count(len(changes.code), 'file')}", listed))
    return shown


def _phrases(rows: RowChanges) -> list[str]:
    if not rows.phrases:
        return []
    found = [
        f"{count(phrase.rows, 'row')}, {'all ' + phrase.label if phrase.label else 'several answers'}: {phrase.text}"
        for phrase in rows.phrases[:LISTED]
    ]
    return [f"#### Repeated phrases\n\nIn many new rows and in none before; is that meant?\n\n{lines(found)}"]


def _classes(changes: Changes, rows: RowChanges) -> list[str]:
    parts = []
    for names, what in ((changes.labels_added, "New"), (changes.labels_removed, "Removed")):
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            parts.append(f"{what} in the task definition: {', '.join(map(name, names[:LISTED]))}{more}.")
    touched = [(k, t) for k, t in rows.classes.items() if any((t.added, t.removed, t.gained, t.lost))]
    if touched:
        touched.sort(key=lambda item: -abs(item[1].after - item[1].before))
        cells = [
            (_class(k), t.before, t.after, _signed(t.after - t.before), t.added, t.removed, t.gained, t.lost)
            for k, t in touched
        ]
        heads = ("class", "before", "after", "±", "added", "removed", "changed to", "changed from")
        # What happened to no class at all needs no column.
        kept = [column for column in range(len(heads)) if column < 4 or any(row[column] for row in cells)]
        parts.append(long_table("Rows per class", [heads[c] for c in kept], [[row[c] for c in kept] for row in cells]))
    if rows.relabelled:
        shown = rows.relabelled[:LISTED]
        left = rows.relabelled_rows - sum(pair.rows for pair in shown)
        more = f"\n\n… and {count(left, 'row')} of other pairs." if left > 0 else ""
        pairs = [(_class(pair.before), _class(pair.after), pair.rows) for pair in shown]
        parts.append(table(("label before", "label after", "rows"), pairs, left=2) + more)
    return ["#### Classes\n\n" + "\n\n".join(parts)] if parts else []


def _files(changes: Changes) -> list[str]:
    if not changes.files:
        return []
    cells = []
    for file in changes.files[:LISTED]:
        how = "new" if file.before is None else "removed" if file.after is None else "changed"
        how = f"renamed from {name(file.previous)}" if file.previous else how
        cells.append((name(file.name), *("–" if n is None else n for n in (file.before, file.after)), how))
    hidden = len(changes.files) - LISTED
    more = f"\n\n… and {count(hidden, 'more file')}." if hidden > 0 else ""
    return ["#### Files in data/raw\n\n" + table(("file", "rows before", "rows after", ""), cells) + more]


def _settings(changes: Changes) -> list[str]:
    chosen = [setting for setting in changes.settings if not setting.policy]
    return [f"#### Prompt, task and training settings\n\n{_diff(chosen)}"] if chosen else []


def _diff(settings: list[Setting]) -> str:
    rows, path = [], ""
    for setting in settings[:_SETTINGS]:
        if setting.path != path:
            path = setting.path
            rows.append(f"  {path}")
        for sign, value in (("-", setting.before), ("+", setting.after)):
            if value is not None:
                rows.append(f"{sign} {clipped(setting.key, 120)}: {value}")
    hidden = len(settings) - _SETTINGS
    return diff([*rows, *([f"  … and {hidden} more"] if hidden > 0 else [])])


def _class(text: str) -> str:
    return name(text) if text else "_not in the task definition_"


def _signed(value: int) -> str:
    return f"{value:+,}" if value else "0"
