"""The data report: what lies in data/raw, per class and split, with every problem; as JSON, Markdown and HTML."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate

import msgspec

from finetune.config.project import Project
from finetune.data.check_results import RowCheck
from finetune.data.checks import Checks
from finetune.data.manifest import read_data_manifest
from finetune.data.plan import class_table
from finetune.data.report.markdown import render_markdown
from finetune.data.report.page import render_html
from finetune.data.report.schema import (
    Characters,
    DataReport,
    Duplicates,
    Groups,
    Histogram,
    Histograms,
    Imbalance,
    Languages,
    LeftOut,
    Lengths,
    NearDuplicates,
    NearPair,
    NotSearched,
    OffShare,
    ProblemList,
    RawFile,
    RowCounts,
    Stratification,
)
from finetune.data.scan.near_duplicates import THRESHOLD
from finetune.data.scan.survey import Survey
from finetune.data.splits import SPLITS
from finetune.paths import Paths
from finetune.provenance import FileFacts, write_json, write_text

_EXAMPLES = 1000
_BINS = 40


def build_report(
    project: Project, files: dict[str, FileFacts], inputs: dict[str, str], survey: Survey, checks: Checks
) -> DataReport:
    """The report of a checked survey. `inputs` are the digests it is bound to: other data, another task."""
    task, counts, languages = project.task, survey.counts, survey.counts.languages
    ratio = checks.imbalance()
    return DataReport(
        report_version=2,
        valid=survey.problems.error_count == 0,
        task=task.task_name,
        task_type=task.task_type,
        inputs=inputs,
        files={
            name: RawFile(sha256=file.sha256, bytes=file.bytes, rows=survey.lines.get(name, 0))
            for name, file in files.items()
        },
        rows=RowCounts(
            read=sum(survey.lines.values()),
            accepted=checks.accepted,
            expected=task.data.expected_rows,
            left_out=len(checks.left_out),
            **{split: checks.rows[split] for split in SPLITS},
        ),
        classes=class_table(checks),
        imbalance=None if ratio is None else Imbalance(round(ratio, 3), task.data.max_imbalance),
        stratification=_stratification(checks),
        characters=Characters(_summary(counts.input_chars), _summary(counts.output_chars)),
        length_histogram=Histograms(
            Histogram(task.input.max_chars, _bins(counts.input_chars)), Histogram(None, _bins(counts.output_chars))
        ),
        duplicates=Duplicates(checks.exact_duplicates, checks.conflicts, _near(survey, checks)),
        languages=Languages(task.language, languages.scripts, languages.mixed, languages.simplified, languages.rows),
        groups=Groups(len(survey.groups), len(set(survey.groups.values()))),
        row_checks=_row_checks(survey, checks),
        problems=ProblemList(survey.problems.error_count, survey.problems.warning_count, survey.problems.all),
    )


def _row_checks(survey: Survey, checks: Checks) -> dict[str, RowCheck]:
    """What was checked row by row, with the numbers of rows and findings where it was done."""
    counts = survey.counts
    counted: dict[str, dict[str, int]] = {
        "template_proof": {"rows": checks.accepted},
        "token_lengths": {"tokenised": counts.tokenised, "over": counts.over, "longest": counts.longest},
        "personal_data": {"texts": counts.personal},
    }
    return {
        name: check if check.status == "skipped" else msgspec.structs.replace(check, **counted.get(name, {}))
        for name, check in survey.row_checks.items()
    }


def _stratification(checks: Checks) -> Stratification | None:
    """The classes whose shares chance does not explain; None where there are no classes."""
    if not checks.class_names:
        return None
    uneven = checks.uneven()
    return Stratification([OffShare(name, split, round(share, 4), target) for name, split, share, target in uneven])


def _near(survey: Survey, checks: Checks) -> NearDuplicates | NotSearched:
    policy = survey.project.task.data.near_duplicates
    if policy == "ignore":
        return NotSearched("data.near_duplicates is ignore")
    left_out = Counter(checks.split_of(near.row) for near in checks.left_out)
    examples = sorted(survey.near, key=lambda near: -near.score)[:_EXAMPLES]
    return NearDuplicates(
        policy=policy,
        threshold=THRESHOLD,
        rows=len(survey.near),
        left_out=LeftOut(left_out["train"], left_out["valid"]),
        other_answer=checks.near_conflicts,
        examples=[
            NearPair(
                *survey.place(near.row),
                checks.split_of(near.row),
                *survey.place(near.other),
                checks.split_of(near.other),
                round(near.score, 3),
            )
            for near in examples
        ],
    )


def _summary(lengths: Counter[int]) -> Lengths | None:
    """Smallest, median, 95th percentile (nearest rank) and largest; None for no rows."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    reached = list(accumulate(lengths[length] for length in ordered))
    count = reached[-1]

    def rank(position: int) -> int:
        return ordered[bisect_right(reached, position)]

    # Nearest rank: ceil(p * n) - 1, in integers so that no rounding error picks a neighbour.
    return Lengths(ordered[0], rank((count - 1) // 2), rank(-(-95 * count // 100) - 1), ordered[-1])


def _bins(lengths: Counter[int]) -> list[tuple[int, int, int]]:
    """(from, to, rows) of bins of equal width, `to` exclusive; the last one ends after the longest."""
    if not lengths:
        return []
    width = max(lengths) // _BINS + 1
    bins = Counter[int]()
    for length, rows in lengths.items():
        bins[length // width] += rows
    return [(number * width, (number + 1) * width, bins[number]) for number in range(max(bins) + 1)]


def write_data_report(paths: Paths, report: DataReport) -> None:
    """Write data_report.html, .md and, last, .json: where the JSON is, the other two are of the same run."""
    write_text(paths.data_report_html, render_html(report))
    write_text(paths.data_report_md, render_markdown(report))
    write_json(paths.data_report_json, msgspec.to_builtins(report))


def read_data_report(paths: Paths) -> DataReport | None:
    """The report that lies here, of whatever data; None where there is none or it is damaged."""
    try:
        return msgspec.json.decode(paths.data_report_json.read_bytes(), type=DataReport)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def data_report_of(paths: Paths, test_sha256: str) -> DataReport | None:
    """The report of the very data that this test set was converted from; None when there is no such report.

    The manifest of step 02 ties the two together: it names the test set and the digests of what it was made from.
    """
    manifest = read_data_manifest(paths.data_manifest)
    if manifest is None or manifest.facts.test_sha256 != test_sha256:
        return None
    report = read_data_report(paths)
    return report if report and report.inputs == manifest.inputs else None
