"""The runtime's proof: AMX kernels that crash, compute nonsense or work, up to step 07 as a user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import native_shim
from exporting import project_after
from finetune.config.project import Project
from finetune.errors import MODEL_FAULT
from finetune.evaluation import llama_runtime
from native_shim import CRASH, HANG, is_gone
from repository import ROOT

pytest.importorskip("llama_cpp", reason="the export extra is not installed")


@pytest.fixture(autouse=True)
def proof_forgotten() -> Iterator[None]:
    llama_runtime.extra_buffers.cache_clear()
    yield
    llama_runtime.extra_buffers.cache_clear()


@pytest.fixture
def amx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that announces AMX."""
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu sse avx512f amx_bf16 amx_tile amx_int8\n", encoding="utf-8")
    monkeypatch.setattr(llama_runtime, "CPUINFO", tmp_path / "cpuinfo")


def test_amx_kernels_that_crash_are_found_out_on_a_tiny_model(
    amx: None, dying: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    dying("decode", CRASH, extra_only=True)
    found = llama_runtime.extra_buffers()
    assert not found.on and found.note == "extra buffer types off: this CPU's AMX kernels crashed (SIGSEGV)"
    assert f"extra_buffers=off ({found.note})" in capfd.readouterr().err


def test_amx_kernels_that_work_are_used(amx: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert llama_runtime.extra_buffers() == llama_runtime.ExtraBuffers(True)
    assert "extra_buffers=on (AMX kernels agree with the plain ones)" in capfd.readouterr().err


WRONG = """
import sys

if "finetune.evaluation.llama_worker" in sys.orig_argv:
    import llama_cpp

    real_load, real_logits, extra = llama_cpp.llama_cpp.llama_model_load_from_file, llama_cpp.llama_get_logits_ith, True

    def load(path, parameters):
        global extra
        extra = parameters.use_extra_bufts
        return real_load(path, parameters)

    def logits(*place):
        return [float(number % 7) for number in range(512)] if extra else real_logits(*place)

    llama_cpp.llama_cpp.llama_model_load_from_file, llama_cpp.llama_get_logits_ith = load, logits
"""


def test_amx_kernels_that_compute_wrong_numbers_are_not_used(
    amx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WRONG, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = llama_runtime.extra_buffers()
    assert found.note == "extra buffer types off: this CPU's AMX kernels computed wrong numbers"


def test_kernels_that_cannot_be_proven_are_not_used(amx: None, dying: Callable[..., Path]) -> None:
    dying("load", "raise ValueError('of another form')")
    assert "not proven (llama.cpp cannot load tiny.gguf: of another form)" in llama_runtime.extra_buffers().note


def test_without_amx_and_by_the_switch_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(llama_runtime, "prove", lambda: pytest.fail("tried"))
    monkeypatch.setattr(llama_runtime, "CPUINFO", tmp_path / "missing")
    assert llama_runtime.extra_buffers().on
    monkeypatch.setenv("LLM_FT_EXTRA_BUFFERS", "off")
    llama_runtime.extra_buffers.cache_clear()
    assert not llama_runtime.extra_buffers().on


def test_the_documented_lines_switch_extra_buffer_types_off(tmp_path: Path) -> None:
    """What docs/runtime.md tells users of llama_cpp.Llama, on a real file."""
    text = (ROOT / "docs" / "runtime.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = llama_runtime.write_tiny_gguf(tmp_path / "tiny.gguf")
    use = f"import llama_cpp\nllama = llama_cpp.Llama({str(path)!r}, n_ctx=64, verbose=False)\n"
    use += "llama.eval([1, 2, 3])\nprint(llama.model_params.use_extra_bufts)\n"
    done = subprocess.run([sys.executable, "-c", snippet + use], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == "False", done.stderr


def test_what_the_runtime_was_built_with_is_printed() -> None:
    command = [sys.executable, "-m", "finetune.evaluation.llama_runtime"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout == ""
    found = dict(re.findall(r"^(\w+) {2,}(.+)$", done.stderr, re.MULTILINE))
    assert list(found) == ["package", "compiler", "instructions", "AMX", "proof"]
    assert re.search(r"GCC|clang|not named", found["compiler"]) and "CPU" in found["instructions"]


@pytest.fixture
def exported(make_project: Callable[..., Project], tmp_path: Path, llama_cpp_tools: None) -> Project:
    """A repository after steps 01 to 06 with step 04's report, everything real but the random weights."""
    from finetune.evaluation.baselines import zero_shot
    from finetune.evaluation.predictions import read_test, score_artefact
    from finetune.evaluation.report import build_report, write_report

    project = project_after("convert", make_project, tmp_path / "exported")
    tuned = score_artefact(project, "adapter")
    write_report(project, build_report(project, tuned, read_test(project), zero_shot=zero_shot(project)))
    return project


def verify(project: Project, pythonpath: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """scripts/07_verify_export.py as a user starts it."""
    command = [sys.executable, str(ROOT / "scripts" / "07_verify_export.py"), "--project", str(project.paths.root)]
    environment = os.environ | {"PYTHONPATH": f"{pythonpath}{os.pathsep}{ROOT}", "COLUMNS": "200"} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


def test_step_07_with_amx_forced_wrong_ends_well_and_says_so(exported: Project, tmp_path: Path) -> None:
    shim = native_shim.write(tmp_path / "shim", "decode", CRASH, extra_only=True, amx=True)
    done = verify(exported, shim)
    note = "extra buffer types off: this CPU's AMX kernels crashed (SIGSEGV)"
    assert done.returncode == 0, done.stderr
    assert f"extra_buffers=off ({note})" in done.stderr
    report = yaml.safe_load(exported.paths.report_yaml.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in report["artefacts"]}
    for name in ("f16", "Q8_0", "Q4_K_M"):
        assert rows[name]["passed"] and rows[name]["runtime"]["note"] == note
        assert rows[name]["runtime"]["extra_buffers"] is False
    assert "runtime" not in rows["merged"]
    line = f"f16, Q8_0, Q4_K_M ran with {note}."
    assert line in done.stderr
    assert line in exported.paths.report_md.read_text(encoding="utf-8")
    assert line.replace("'", "&#39;") in exported.paths.report_html.read_text(encoding="utf-8")

    # The answers are kept, and so is how they were made, on whatever machine the step runs next.
    done = verify(exported, native_shim.write(tmp_path / "shim", "decode", "pass"))
    assert done.returncode == 0 and line in done.stderr


@pytest.mark.parametrize(
    ("how", "said", "fix"),
    [
        (CRASH, "E480 llama.cpp was ended by SIGSEGV", "run scripts/06_convert_gguf.py --force; if it ends so again"),
        (native_shim.by("SIGILL"), "E480 llama.cpp was ended by SIGILL", "this CPU lacks an instruction"),
        (native_shim.by("SIGKILL"), "E481 llama.cpp was killed by SIGKILL", "the system kills what takes too much"),
        (HANG, "E482 llama.cpp gave no sign of life for 6 seconds", "run the same command again, with fewer"),
    ],
)
def test_step_07_with_a_runtime_that_always_dies_ends_with_70(
    exported: Project, tmp_path: Path, how: str, said: str, fix: str
) -> None:
    done = verify(exported, native_shim.write(tmp_path / "shim", "decode", how), LLM_FT_SILENCE_SECONDS="6")
    assert done.returncode == MODEL_FAULT, done.stderr
    assert re.search(
        f"^{said} while loading small-task-f16.gguf(, and was ended)?. Fix: {fix}", done.stderr, re.MULTILINE
    )
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_llama_cpp_and_the_step_says_75(exported: Project, tmp_path: Path) -> None:
    shim = native_shim.write(tmp_path / "shim", "decode", HANG)
    command = [sys.executable, str(ROOT / "scripts" / "07_verify_export.py"), "--project", str(exported.paths.root)]
    environment = os.environ | {"PYTHONPATH": f"{shim}{os.pathsep}{ROOT}"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True) as step:
        mark = tmp_path / "shim" / "mark"
        ended = threading.Event()
        threading.Thread(target=lambda: (step.wait(), ended.set()), daemon=True).start()
        while not mark.is_file() and not ended.wait(0.1):
            pass
        time.sleep(0.5)
        os.killpg(step.pid, signal.SIGINT)  # as a terminal does: to the step and to llama.cpp
        _, said = step.communicate(timeout=300)
    assert step.returncode == 75 and "E975 stopped by Ctrl-C" in said, said
    assert "Traceback" not in said and is_gone(int(json.loads(mark.read_text())))
