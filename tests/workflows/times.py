"""The table of times at the end of a session: every test that ran workflows, and how long each workflow took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from .act import Run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(name): which case of the workflows' specification the test shows")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("case")
    if marker:
        item.user_properties.append(("case", marker.args[0]))
    yield


def note(item: pytest.Item, runs: Iterable[Run]) -> None:
    """Remember which workflows a test ran."""
    item.user_properties.append(("workflows", [(run.workflow, run.seconds) for run in runs]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Preparing what several tests share counts for the first of them."""
    seconds: dict[str, float] = defaultdict(float)
    told: dict[str, dict[str, Any]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] += report.duration
                told[report.nodeid] = told.get(report.nodeid, {}) | dict(report.user_properties)
    rows = sorted((facts.get("case", "~"), name) for name, facts in told.items() if "workflows" in facts)
    if not rows:
        return
    terminalreporter.section("workflows: time per case, of it under act")
    for case, name in rows:
        runs = ", ".join(
            f"{workflow.removesuffix('.yml')} {taken:.0f} s" for workflow, taken in told[name]["workflows"]
        )
        test = name.rpartition("::")[2]
        terminalreporter.write_line(f"{case.strip('~'):3} {seconds[name]:5.0f} s  {test:92} {runs}")
