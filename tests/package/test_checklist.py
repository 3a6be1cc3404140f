"""The checklist: every item once, ticks only from evidence or a person, exit codes and output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml
from markdown_it import MarkdownIt

from finetune.config.project import Project
from finetune.errors import GATE_FAILED, OK
from finetune.evidence import generation
from finetune.evidence.checklist import Result, Ticks, command, load_checklist, read_ticks, render, update
from finetune.evidence.findings import failed, one_line
from finetune.evidence.registry import EVIDENCE
from pipeline_fakes import decide, with_data
from repository import ROOT

MakeProject = Callable[..., Project]


def test_every_item_of_the_specification_is_there_once() -> None:
    checklist = load_checklist()
    sizes = {1: 11, 2: 7, 3: 19, 4: 16, 5: 14, 6: 18, 7: 7}
    wanted = [f"{phase}.{number}" for phase, size in sizes.items() for number in range(1, size + 1)]
    assert [item.id for item in checklist.items()] == wanted
    reference = [row[0] for table in checklist.reference for row in table.rows]
    assert reference == ["8.1", "8.2", "8.3", "8.4", "8.5", "9.1", "9.2", "9.3", "9.4"]


def test_every_auto_item_has_its_own_evidence_function_and_no_function_is_left_over() -> None:
    items = list(load_checklist().items())
    named = [item.evidence for item in items if item.evidence]
    assert sorted(named) == sorted(EVIDENCE)
    assert [item.id for item in items if (item.kind == "auto") != (item.evidence is not None)] == []


def test_both_languages_and_a_hint_stand_at_every_item() -> None:
    for item in load_checklist().items():
        assert item.zh and item.en and item.hint, item.id


def test_the_shipped_file_differs_from_a_fresh_rendering_in_statuses_only() -> None:
    def fixed(text: str) -> list[str]:
        lines = [re.sub(r"^( *- )\[[ x]\]", r"\1[ ]", line) for line in text.splitlines()]
        return [line for line in lines if not re.match(r"  - [✓○✗] ", line)]

    shipped = (ROOT / "CHECKLIST.md").read_text(encoding="utf-8")
    assert fixed(shipped) == fixed(render(load_checklist(), {}))
    assert not re.search(r"<[<%#]", shipped)


def test_the_initial_file_has_no_ticks() -> None:
    text = render(load_checklist(), {})
    assert read_ticks(text) == Ticks() and "- [x]" not in text


def test_the_checklist_itself_needs_the_base_install_only() -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({(*generation.HEAVY, 'numpy', 'scipy')!r}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{block}; import finetune.evidence.checklist"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_what_a_person_ticked_survives_and_nothing_else(make_project: MakeProject) -> None:
    project = make_project()
    target = project.paths.root / "CHECKLIST.md"
    update(project.paths.root)
    text = target.read_text(encoding="utf-8")
    ticked = re.sub(r"^- \[ \] (7\.7|5\.4|3\.4) ", r"- [x] \1 ", text, flags=re.MULTILINE)
    ticked = re.sub(r"^  - \[ \] 3\.14 ", "  - [X] 3.14 ", ticked, flags=re.MULTILINE)
    assert ticked.count("[x]") == text.count("[x]") + 3
    target.write_text(ticked, encoding="utf-8")
    update(project.paths.root)
    ticks = read_ticks(target.read_text(encoding="utf-8"))
    assert "7.7" in ticks.items and ticks.confirmed == {"3.14"}
    assert not {"5.4", "3.4"} & ticks.items


def test_evidence_and_confirmation_are_both_needed(make_project: MakeProject) -> None:
    project = make_project()
    assert decide(project)["3.14"].status == "open"
    assert decide(project, Ticks(confirmed=frozenset({"3.14", "3.3"})))["3.14"].status == "done"
    assert decide(project, Ticks(confirmed=frozenset({"3.14", "3.3"})))["3.3"].status == "open"


def test_rendering_again_changes_nothing(make_project: MakeProject) -> None:
    project = with_data(make_project())
    update(project.paths.root)
    target = project.paths.root / "CHECKLIST.md"
    before = target.read_bytes(), target.stat().st_mtime_ns
    update(project.paths.root)
    assert (target.read_bytes(), target.stat().st_mtime_ns) == before


def test_check_fails_until_the_phase_has_its_evidence(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project()
    assert command(project.paths.root, check=3) == GATE_FAILED
    assert "3.12" in capsys.readouterr().err
    with_data(project)
    assert command(project.paths.root, check=3) == OK, "confirmations of a person do not block"
    assert command(project.paths.root, check=4) == GATE_FAILED


def test_an_unknown_phase_is_bad_input(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(make_project().paths.root, check=9) == 2
    assert "E910 no phase 9" in capsys.readouterr().err


def test_json_holds_every_item_with_its_evidence(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    command(make_project().paths.root, as_json=True)
    items = json.loads(capsys.readouterr().out)["items"]
    assert len(items) == 92
    assert {item["status"] for item in items} <= {"done", "open", "failed"}
    assert all(item["finding"]["text"] and item["zh"] and item["en"] for item in items)


def test_a_smoke_run_writes_its_own_list(make_project: MakeProject) -> None:
    project = make_project()
    smoke = {"training": {"optimiser": {"epochs": 1}}}
    project.paths.smoke_config.write_text(yaml.safe_dump(smoke), encoding="utf-8")
    assert command(project.paths.root, smoke=True) == OK
    assert (project.paths.root / "build/smoke/CHECKLIST.md").is_file()
    assert not (project.paths.root / "CHECKLIST.md").exists()


def test_foreign_text_stays_on_its_line_and_harmless() -> None:
    text = one_line("bad\n- [x] 7.7 done\r<img src=x> @team `code` " + "x" * 500)
    assert "\n" not in text and "\r" not in text and not set(text) & set("<>`@") and len(text) <= 240
    assert read_ticks(f"  - ✗ {text}") == Ticks()


def test_evidence_in_the_list_is_text_and_nothing_else() -> None:
    """A label, a file name or an error's words can hold a picture, a link or a mention."""
    checklist = load_checklist()
    item = next(item for item in checklist.items() if item.kind == "auto")
    hostile = failed("![x](https://evil.example/x.png) [a](javascript:b) *c* #1 www.evil.example")
    list_of_one = render(checklist, {item.id: Result(item.id, item.kind, hostile, None)})
    tokens = [inner for token in MarkdownIt().parse(list_of_one) for inner in token.children or [token]]
    assert not {"image", "link_open", "em_open"} & {token.type for token in tokens}
    shown = "".join(token.content for token in tokens if token.type == "text").replace("\u200b", "")
    assert "![x](https://evil.example/x.png) [a](javascript:b) *c* #1 www.evil.example" in shown


def test_a_checklist_that_is_no_utf_8_is_said_and_left_as_it_is(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    target = make_project().paths.root / "CHECKLIST.md"
    update(target.parent)
    big5 = target.read_text(encoding="utf-8").replace("- [ ] 1.1", "- [x] 1.1").encode("big5", "replace")
    target.write_bytes(big5)
    capsys.readouterr()
    assert command(target.parent) == 2
    said = capsys.readouterr().err
    assert "CHECKLIST.md:1: E105 not UTF-8" in said and "remove it" in said and "Traceback" not in said
    assert target.read_bytes() == big5
    assert command(target.parent, as_json=True) == 2
    assert [problem["code"] for problem in json.loads(capsys.readouterr().out)["problems"]] == ["E105"]


def test_evidence_that_overflows_its_reader_is_a_finding_not_a_traceback(make_project: MakeProject) -> None:
    """RecursionError is no ValueError: it got past the list of what damage may look like."""
    project = with_data(make_project())
    report = project.paths.data_report_json
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("[" * 100_000, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "checklist.py"), "--project", str(project.paths.root), "--check", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == GATE_FAILED and "Traceback" not in done.stderr
    assert "data_report.json is damaged: run scripts/01_validate_data.py again" in done.stderr


def test_a_folder_in_its_place_is_one_line_and_no_success(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project().paths.root
    (root / "CHECKLIST.md").unlink(missing_ok=True)
    (root / "CHECKLIST.md").mkdir()
    assert command(root) == 74
    assert "E974 " in capsys.readouterr().err
