"""Step 07: what is shipped is what was measured, or the step fails after writing down why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from exporting import QUANTISATIONS, project_after, rewrite_gguf_template
from finetune.config.project import Project
from finetune.data.stage import convert
from finetune.errors import OK, FinetuneError, GateFailed
from finetune.evaluation.baselines import zero_shot
from finetune.evaluation.completions import Completion
from finetune.evaluation.gate import PASSED
from finetune.evaluation.metrics import Prediction
from finetune.evaluation.predictions import read_test, score_artefact
from finetune.evaluation.report import build_report, read_report, write_report
from finetune.evaluation.report_schema import ArtefactRow
from finetune.export import parity
from finetune.export.parity import Prompts, agreement, release_fault, verify


class Oracle:
    """A backend that knows the answers."""

    name = "adapter"

    def __init__(self, project: Project) -> None:
        self.answers = [record.reference for record in read_test(project)]

    def prompt_ids(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return []

    def generate(self, conversations: Sequence[Any], max_new_tokens: int) -> Iterator[Completion]:
        yield from (Completion(answer, 2, 0.01, True) for answer in self.answers)

    def close(self) -> None:
        pass


@pytest.fixture
def exported(make_project: Callable[..., Project], tmp_path: Path, llama_cpp_tools: None) -> Project:
    return project_after("convert", make_project, tmp_path / "repository")


def evaluate(project: Project, backend: Oracle | None = None) -> None:
    """What step 04 leaves: the adapter's predictions and a report about them."""
    tuned = score_artefact(project, "adapter", backend, force=backend is not None)
    write_report(project, build_report(project, tuned, read_test(project), zero_shot=zero_shot(project)))


def rows(project: Project) -> dict[str, ArtefactRow]:
    report = read_report(project)
    assert report is not None
    return {row.name: row for row in report.artefacts}


def test_every_artefact_is_measured_and_written_down(exported: Project) -> None:
    evaluate(exported)
    assert verify(exported) == OK
    table = rows(exported)
    assert list(table) == ["adapter", "merged", *QUANTISATIONS, "vLLM", "Ollama"]
    for name in ("merged", *QUANTISATIONS):
        row = table[name]
        assert row.passed is True and row.tokens_equal is True and row.template_equal is True
        assert row.difference == pytest.approx(row.value - table["adapter"].value)
        assert row.prompts_compared == len(read_test(exported)) and row.bytes > 0 and row.tokens_per_s > 0
        assert 0 <= row.agreement <= 1 and 0 <= row.finished_rate <= 1
    assert table["vLLM"].status == table["Ollama"].status == "open"
    assert table["vLLM"].passed is None


def test_what_was_not_run_is_neither_passed_nor_failed(exported: Project) -> None:
    evaluate(exported, Oracle(exported))
    verify(exported)
    report = read_report(exported)
    assert report is not None and report.verdict == PASSED, report.gates
    assert "| open | Ollama |" in exported.paths.report_md.read_text(encoding="utf-8")
    assert "open</td><td>vLLM</td>" in exported.paths.report_html.read_text(encoding="utf-8")


def test_prompt_ids_of_the_gguf_are_those_of_training(exported: Project) -> None:
    from finetune.evaluation.backends import open_backend

    prompts = Prompts(exported)
    backend = open_backend(exported, "Q8_0")
    try:
        assert [backend.prompt_ids(messages) for messages in prompts.messages] == prompts.ids
    finally:
        backend.close()


def test_drop_beyond_the_tolerance_fails_after_the_report_is_written(
    exported: Project, make_project: Callable[..., Project]
) -> None:
    benchmark = {"quantisations": list(QUANTISATIONS), "tolerances": {"merged": 0.05, "Q4_K_M": 1.0}}
    strict = make_project(root=exported.paths.root, benchmark=benchmark)
    evaluate(strict, Oracle(strict))
    with pytest.raises(GateFailed, match=r"E760 .*merged \(-\d\.\d+ against a tolerance of 0\.05\)") as failure:
        verify(strict)
    assert failure.value.exit_code == 76
    assert rows(strict)["merged"].passed is False and rows(strict)["merged"].status == "failed"


def test_gguf_with_another_template_is_not_run_and_fails(exported: Project) -> None:
    evaluate(exported)
    path = exported.paths.gguf / "small-task-Q8_0.gguf"
    rewrite_gguf_template(path, b"You are a helpful", b"You are a helpfuL")
    with pytest.raises(GateFailed, match=r"Q8_0 \(its chat template is not the base model's"):
        verify(exported)
    row = rows(exported)["Q8_0"]
    assert row.template_equal is False and row.value is None
    assert not (exported.paths.predictions / "Q8_0.jsonl").exists()


def test_merged_model_that_reads_other_tokens_fails(exported: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(exported)
    original = parity.open_backend

    def with_double_bos(project: Project, name: str) -> Any:
        backend = original(project, name)
        ids = backend.prompt_ids
        if name == "f16":
            backend.prompt_ids = lambda messages: [1, *ids(messages)]
        return backend

    monkeypatch.setattr(parity, "open_backend", with_double_bos)
    with pytest.raises(GateFailed, match=r"1 of 4 artefacts may not be released: f16 \(it reads prompts as other"):
        verify(exported)
    assert rows(exported)["f16"].tokens_equal is False and rows(exported)["Q8_0"].passed is True


def reason(*, difference: float = 0.0, finished: float = 1.0) -> str:
    return release_fault(True, difference, finished, finished_before=1.0, tolerance=0.02)


def test_answers_that_do_not_end_fail() -> None:
    assert "50% of its answers come to an end" in reason(finished=0.5)
    assert reason(finished=0.98) == ""


def test_a_drop_of_exactly_the_tolerance_passes() -> None:
    assert reason(difference=0.89 - 0.91) == ""
    assert reason(difference=-0.0201) != ""


def test_agreement_counts_identical_answers() -> None:
    def answer(number: int, parsed: str | None, text: str = "") -> Prediction:
        return Prediction(id=str(number), reference="a", text=text, parsed=parsed)

    ours = [answer(1, "a"), answer(2, "b"), answer(3, None, "x"), answer(4, None, "x")]
    theirs = [answer(4, None, "x"), answer(3, None, "y"), answer(2, "a"), answer(1, "a")]
    assert agreement(ours, theirs) == 0.5


def test_missing_report_and_artefact_name_their_steps(exported: Project) -> None:
    with pytest.raises(FinetuneError, match=r"E506 no report.*04_evaluate\.py first"):
        verify(exported)
    (exported.paths.gguf / "small-task-Q8_0.gguf").unlink()
    with pytest.raises(FinetuneError, match=r"06_convert_gguf\.py first"):
        verify(exported)


def test_report_about_another_test_set_is_refused(exported: Project) -> None:
    evaluate(exported)
    with open(exported.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.writelines(f'{{"input": "question {n} about an invoice", "label": "billing"}}\n' for n in range(20))
    assert convert(exported) == OK
    with pytest.raises(FinetuneError, match="E507"):
        verify(exported)
