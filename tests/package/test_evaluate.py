"""Step 04 from converted data and a real (tiny) adapter to report and exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from finetune.config.project import load_project
from finetune.data.stage import convert
from finetune.errors import FinetuneError, GateFailed
from finetune.evaluation.gate import LIMITED, PASSED
from finetune.evaluation.report import read_report
from finetune.evaluation.stage import evaluate
from finetune.provenance import MANIFEST, sha256, write_manifest
from finetune.training.base_model import resolve_base
from reports import changed
from repository import ROOT
from test_backends import save_adapter


def with_adapter(project: Any, **facts: Any) -> Any:
    """Converted data and a random adapter whose manifest is that of step 03."""
    convert(project)
    folder = save_adapter(project)
    recorded = {
        "base": {
            "fingerprint": resolve_base(project).fingerprint,
            "id": "tiny",
            "revision": "r",
            "source": "local",
        },
        "data": {"train_sha256": sha256(project.paths.train), "valid_sha256": sha256(project.paths.valid)},
        **facts,
    }
    outputs = [path for path in folder.iterdir() if path.is_file()]
    write_manifest(folder / MANIFEST, step="03_train", inputs={}, outputs=outputs, facts=recorded)
    return project


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Any:
    return with_adapter(make_project(base=True))


def test_a_random_adapter_fails_the_gate_after_the_report_is_written(project: Any) -> None:
    with pytest.raises(GateFailed, match="gate failed: macro_f1") as caught:
        evaluate(project)
    assert caught.value.exit_code == 76
    report = read_report(project)
    assert report.verdict == "failed" and report.outputs.unparseable == report.outputs.rows
    assert {name for name, _ in report.baselines.items()} == {"zero_shot", "majority"}
    assert project.paths.report_html.is_file() and project.paths.report_md.is_file()


def answer_rightly(monkeypatch: pytest.MonkeyPatch, project: Any) -> None:
    """Let the decoder write the reference of each prompt: the gate must see a good model."""
    from finetune.evaluation import decoding
    from finetune.evaluation.predictions import read_test
    from finetune.training.base_model import load_tokenizer

    tokenizer = load_tokenizer(resolve_base(project))
    known = {record.input: record.reference for record in read_test(project)}

    def perfect(_: Any, prompts: Any, **__: Any) -> Any:
        for prompt in prompts:
            text = tokenizer.decode(prompt)
            label = next(reference for content, reference in known.items() if content in text)
            yield decoding.Decoded(tokenizer(label, add_special_tokens=False)["input_ids"], finished=True)

    monkeypatch.setattr(decoding, "greedy_decode", perfect)


def test_a_good_adapter_passes_and_is_not_asked_again(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_rightly(monkeypatch, project)
    assert evaluate(project) == 0
    first = read_report(project)
    assert first.verdict == PASSED and first.primary.value == 1.0
    monkeypatch.setattr("finetune.evaluation.predictions.open_backend", lambda *_: pytest.fail("a model was loaded"))
    assert evaluate(project) == 0
    second = read_report(project)
    made = first.provenance.created
    assert changed(second, lambda values: values["provenance"].update(created=made)) == first


def test_report_only_leaves_the_judgement_to_its_reader(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(project, report_only=True) == 0
    report = read_report(project)
    assert report.verdict == "failed" and report.primary.passed is False
    assert "failed; the report is written, judging it is left to its reader" in capsys.readouterr().err
    with pytest.raises(GateFailed):
        evaluate(project)


def test_report_only_excuses_the_verdict_and_nothing_else(project: Any) -> None:
    assert evaluate(project, limit=2, report_only=True) == 0
    assert read_report(project).verdict == LIMITED
    (project.paths.adapter / MANIFEST).unlink()
    with pytest.raises(FinetuneError, match="has no manifest"):
        evaluate(project, report_only=True)


def test_a_limited_run_does_not_pass_even_when_all_is_right(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_rightly(monkeypatch, project)
    with pytest.raises(GateFailed, match="limited run, not comparable"):
        evaluate(project, limit=2)
    report = read_report(project)
    assert report.verdict == LIMITED and report.outputs.rows == 2


@pytest.fixture
def smoke(make_project: Callable[..., Any]) -> Any:
    """The same repository as a smoke run sees it."""
    root = make_project(base=True).paths.root
    (root / "configs" / "smoke_config.yaml").write_text("training: {}\nbenchmark: {}\n", encoding="utf-8")
    return with_adapter(load_project(root, smoke=True))


def test_a_smoke_run_is_stamped_and_not_judged(smoke: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(smoke) == 0
    report = read_report(smoke)
    assert report.limited is True and report.task.smoke is True and report.verdict == LIMITED != PASSED
    assert report.primary.passed is False and report.primary.value < report.primary.threshold
    assert "a smoke run is not judged" in capsys.readouterr().err
    assert smoke.paths.report_html.is_relative_to(smoke.paths.root / "build" / "smoke")
    assert not (smoke.paths.root / "benchmarks" / "results").exists()


def test_a_good_smoke_run_does_not_pass_either(smoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_rightly(monkeypatch, smoke)
    assert evaluate(smoke) == 0
    report = read_report(smoke)
    assert report.primary.passed is True and report.verdict == LIMITED


def test_a_limit_is_judged_in_a_smoke_run_too(smoke: Any) -> None:
    with pytest.raises(GateFailed):
        evaluate(smoke, limit=2)


def test_data_changed_after_the_conversion_is_refused(project: Any) -> None:
    project.paths.test.open("a", encoding="utf-8").write("\n")
    with pytest.raises(FinetuneError, match=r"damaged|older than data/raw"):
        evaluate(project)


def test_raw_data_added_after_the_conversion_is_refused(project: Any) -> None:
    rows = project.paths.raw / "more.jsonl"
    rows.write_text('{"input": "a new case about the login page", "label": "account"}\n', encoding="utf-8")
    with pytest.raises(FinetuneError, match=r"older than data/raw.*run scripts/02_convert_format\.py"):
        evaluate(project)


def test_an_adapter_of_another_base_is_refused(make_project: Callable[..., Any]) -> None:
    project = with_adapter(make_project(base=True), base={"fingerprint": "another", "id": "x", "revision": "y"})
    with pytest.raises(FinetuneError, match="trained on another base model"):
        evaluate(project)


def test_without_an_adapter_it_names_the_step(make_project: Callable[..., Any]) -> None:
    project = make_project(base=True)
    convert(project)
    with pytest.raises(FinetuneError, match=r"run scripts/03_train\.py first") as caught:
        evaluate(project)
    assert caught.value.exit_code == 2


def test_a_limit_of_nothing_is_refused(project: Any) -> None:
    with pytest.raises(FinetuneError, match="--limit 0 leaves no rows"):
        evaluate(project, limit=0)


def test_the_script_shows_its_help_without_heavy_imports() -> None:
    root = ROOT
    script = (
        "import runpy, sys; sys.argv = ['04_evaluate.py', '--help']; sys.path.insert(0, 'scripts')\n"
        "try: runpy.run_path('scripts/04_evaluate.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'numpy', 'peft', 'llama_cpp'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, env={"PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    assert all(option in done.stdout for option in ("--limit", "--force", "--report-only"))
