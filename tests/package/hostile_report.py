"""Data reports whose every text wants to be more than text: strategies for what must stay inert anywhere."""

from __future__ import annotations

from hypothesis import strategies as st

from finetune.data.check_results import RowCheck, SplitCounts
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
from finetune.data.splits import SPLITS
from finetune.errors import Problem

SKULL = "☠"
"""Stands in every text that is not ours."""
HOSTILE = (
    f"{SKULL}```\n# h\n",
    f"`{SKULL}`",
    f"@org/{SKULL}",
    f"<img src=x>{SKULL}",
    f"]({SKULL})|",
    f"{SKULL}|\\|\n\n",
    f"&#64;org {SKULL}",
    f"https://evil.example/{SKULL}",
    f"#1 {SKULL}",
    f"<!-- {SKULL}",
    f"</details>{SKULL}",
    f"\u202e{SKULL}\u200b",
    f"::error::{SKULL}",
    f"##[command]{SKULL}",
    f"~~~{SKULL}",
    f"    {SKULL}",
    f"{SKULL}\\",
    f"<!-- llm-ft-template:data-report -->{SKULL}",
    f"%%{{init}}%% {SKULL}",
    f"$$x$$ {SKULL}",
    f":+1: {SKULL}",
    f'" onload="alert(1)" {SKULL}',
    f"</pre></title></svg><script>alert(1)</script>{SKULL}",
    f"{{{{ 7*7 }}}}{SKULL}",
    f"www.evil.example {SKULL}",
    f"GH-12 {SKULL}",
    SKULL * 300,
)

hostile = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map("".join),
    st.text(max_size=30).map(lambda text: text + SKULL),
)
some = st.lists(hostile, max_size=4)
n = st.integers(0, 10**15)
maybe = st.none() | hostile
_maybe_n = st.none() | n
_part = st.floats(0, 1)
_split = st.sampled_from(SPLITS)
_policy = st.none() | st.sampled_from(("leave_out", "warn", "error", "ignore"))
_status = st.sampled_from(("done", "skipped"))
_check_names = st.sampled_from(("control_tokens", "template_proof", "personal_data", "token_lengths")) | hostile

problem_lists = st.builds(
    ProblemList,
    errors=n,
    warnings=n,
    problems=st.lists(st.builds(Problem, hostile, hostile, hostile, hostile, _maybe_n, maybe), max_size=5),
)
_lengths = st.builds(Lengths, min=n, median=n, p95=n, max=n)
_characters = st.builds(Characters, input=st.none() | _lengths, output=st.none() | _lengths)
_histogram = st.builds(Histogram, limit=_maybe_n, bins=st.lists(st.tuples(n, n, n), max_size=5))
_histograms = st.builds(Histograms, input=st.none() | _histogram, output=st.none() | _histogram)
_left_out = st.builds(LeftOut, train=n, valid=n)
_pair = st.builds(
    NearPair, path=hostile, line=n, split=_split, other_path=hostile, other_line=n, other_split=_split, score=_part
)
_not_searched = st.builds(NotSearched, reason=maybe)
_near = st.builds(
    NearDuplicates,
    threshold=st.none() | _part,
    policy=_policy,
    rows=n,
    left_out=_left_out,
    other_answer=n,
    examples=st.lists(_pair, max_size=3),
)
_duplicates = st.builds(Duplicates, exact=n, conflicting=n, near=st.none() | _not_searched | _near)
_row_check = st.builds(
    RowCheck,
    status=_status,
    reason=maybe,
    names=_maybe_n,
    rows=_maybe_n,
    template_tokens=_maybe_n,
    policy=_policy,
    texts=_maybe_n,
    limit=_maybe_n,
    template=_maybe_n,
    tokenised=_maybe_n,
    over=_maybe_n,
    longest=_maybe_n,
)
_languages = st.builds(
    Languages, declared=hostile, scripts=st.dictionaries(hostile, n, max_size=3), mixed=n, simplified=n, rows=n
)
_off = st.builds(OffShare, name=hostile, split=_split, share=_part, target=_part)
_stratification = st.builds(Stratification, off=st.lists(_off, max_size=3))
_rows = st.builds(RowCounts, read=n, accepted=n, expected=n, train=n, valid=n, test=n, left_out=n)
_file = st.builds(RawFile, sha256=hostile, rows=n, bytes=n)
_counts = st.builds(SplitCounts, rows=n, train=n, valid=n, test=n, left_train=n, left_valid=n)
_imbalance = st.builds(Imbalance, ratio=st.floats(0, 1e9), limit=st.floats(0, 1e9))
_groups = st.builds(Groups, rows=n, distinct=n)
reports = st.builds(
    DataReport,
    report_version=st.just(2),
    valid=st.booleans(),
    inputs=st.dictionaries(hostile, hostile, max_size=2),
    files=st.dictionaries(hostile, _file, max_size=3),
    rows=_rows,
    classes=st.dictionaries(hostile, _counts, max_size=20),
    imbalance=st.none() | _imbalance,
    characters=_characters,
    duplicates=_duplicates,
    groups=_groups,
    problems=problem_lists,
    task=hostile,
    task_type=st.sampled_from(("classification", "extraction", "generation")) | hostile,
    length_histogram=st.none() | _histograms,
    row_checks=st.dictionaries(_check_names, _row_check, max_size=4),
    languages=st.none() | _languages,
    stratification=st.none() | _stratification,
)
REPORT_PARTS = (
    problem_lists,
    _lengths,
    _characters,
    _histogram,
    _histograms,
    _left_out,
    _pair,
    _not_searched,
    _near,
    _duplicates,
    _row_check,
    _languages,
    _off,
    _stratification,
    _rows,
    _file,
    _counts,
    _imbalance,
    _groups,
    reports,
)
