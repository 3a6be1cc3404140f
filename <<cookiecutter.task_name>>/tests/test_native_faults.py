"""No native crash ends a step: every way in which llama.cpp's process can end, hang or talk nonsense, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import native_shim
import pytest
from native_shim import CRASH, HANG, is_gone

import finetune
from finetune.config.project import Project
from finetune.errors import MODEL_FAULT, FinetuneError, ModelFault
from finetune.evaluation.backends import gguf_path
from finetune.evaluation.llama_backend import LlamaCppBackend
from finetune.evaluation.llama_child import REDO, LlamaChild
from finetune.training.base_model import PACKAGED, _package_file

pytest.importorskip("llama_cpp", reason="the export extra is not installed")
ROOT = Path(finetune.__file__).resolve().parents[1]
CHATS = [[{"role": "user", "content": f"What is the capital of {land}? One word."}] for land in ("France", "Italy")]


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Any:
    """With SmolLM2's packaged GGUF where step 06 would put its own."""
    project = make_project()
    path = gguf_path(project, "Q8_0")
    path.parent.mkdir(parents=True)
    packaged = _package_file(next(iter(PACKAGED)))
    assert packaged is not None
    path.symlink_to(packaged)
    return project


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`dying("decode", CRASH)`: from now on llama.cpp's process dies so; returns the file that will hold its id."""

    def prepare(call: str, how: str, **options: Any) -> Path:
        monkeypatch.setenv("PYTHONPATH", native_shim.write(tmp_path / "shim", call, how, **options))
        return tmp_path / "shim" / "mark"

    return prepare


def test_an_answer_that_was_stopped_costs_only_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in chat.py: the process that was answering is gone, and the next question gets a new one."""
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)

    def stopped(child: LlamaChild, doing: str) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LlamaChild, "_read", stopped)
        with pytest.raises(KeyboardInterrupt):
            list(backend.generate(CHATS, 8))
    assert "Paris" in next(backend.generate(CHATS, 8)).text
    backend.close()


def answers(project: Project) -> list[str]:
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    try:
        return [completion.text for completion in backend.generate(CHATS, 8)]
    finally:
        backend.close()


FILE = "small-task-Q8_0.gguf"


LOADING, ANSWERING = f"while loading {FILE}", f"while answering with {FILE}"


@pytest.mark.parametrize(
    ("call", "how", "after", "code", "message", "doing", "fix"),
    [
        ("start", CRASH, 0, "E480", "was ended by SIGSEGV", LOADING, "06_convert_gguf.py --force"),
        ("load", native_shim.by("SIGILL"), 0, "E480", "was ended by SIGILL", LOADING, "--no-binary"),
        ("load", "os.abort()", 0, "E480", "was ended by SIGABRT", LOADING, "docs/runtime.md"),
        ("load", native_shim.by("SIGKILL"), 0, "E481", "was killed by SIGKILL", LOADING, "memory"),
        ("load", "sys.exit(3)", 0, "E483", "ended with exit code 3", LOADING, "lines above"),
        ("load", HANG, 0, "E482", "gave no sign of life for 4 seconds", LOADING, "LLM_FT_SILENCE_SECONDS above 4"),
        ("decode", native_shim.by("SIGBUS"), 0, "E480", "was ended by SIGBUS", LOADING, "damaged"),
        ("decode", CRASH, 11, "E480", "was ended by SIGSEGV", ANSWERING, "LLM_FT_EXTRA_BUFFERS=off"),
        ("decode", native_shim.by("SIGKILL"), 3, "E481", "was killed by SIGKILL", ANSWERING, "memory"),
        ("decode", native_shim.by("SIGTERM"), 3, "E481", "was ended by SIGTERM", ANSWERING, "run the same command"),
        ("decode", "os._exit(0)", 3, "E483", "ended with exit code 0", ANSWERING, "lines above"),
        ("decode", HANG, 3, "E482", "gave no sign of life for 4 seconds", ANSWERING, "fewer other programs"),
        ("decode", "raise RuntimeError('no slot')", 3, "E483", "failed", f"{ANSWERING}: no slot", "06_convert"),
        ("start", "os.write(1, b'hello\\n')", 0, "E483", "wrote what is no answer", LOADING, "run the same command"),
        ("start", "os.write(1, b'[1]\\n')", 0, "E483", "wrote what is no answer", LOADING, "run the same command"),
        ("start", "os.close(1); time.sleep(600)", 0, "E483", "closed its end of the pipe", LOADING, "lines above"),
    ],
)  # fmt: skip
def test_every_end_is_a_coded_fault_with_file_reason_and_remedy(
    project: Project, dying: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, call: str, how: str, after: int,
    code: str, message: str, doing: str, fix: str,
) -> None:  # fmt: skip
    if how == HANG:
        monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "4")
    monkeypatch.setattr("finetune.evaluation.llama_child._GRACE_SECONDS", 1)
    mark = dying(call, how, after=after)
    with pytest.raises(ModelFault) as caught:
        answers(project)
    fault = caught.value
    assert (fault.code, fault.exit_code) == (code, MODEL_FAULT)
    assert message in fault.message and doing in fault.message and fix in fault.fix, str(fault)
    assert is_gone(int(mark.read_text()))


def test_the_last_lines_of_llama_cpp_are_shown(
    project: Project, dying: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    dying("load", "os.write(2, b'ggml.c:1: GGML_ASSERT(a) failed'); os.abort()")
    with pytest.raises(ModelFault):
        answers(project)
    shown = capfd.readouterr()
    assert "  | ggml.c:1: GGML_ASSERT(a) failed" in shown.err and shown.out == ""


@pytest.mark.parametrize(("call", "after"), [("load", 0), ("decode", 0), ("decode", 1), ("decode", 4)])
def test_a_crash_before_the_first_answer_falls_back_to_plain_kernels(
    project: Project, dying: Callable[..., Path], capfd: pytest.CaptureFixture[str], call: str, after: int
) -> None:
    sound = answers(project)
    mark = dying(call, CRASH, after=after, extra_only=True)
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    assert [completion.text for completion in backend.generate(CHATS, 8)] == sound
    backend.close()
    assert mark.is_file() and backend.runtime["extra_buffers"] is False
    assert backend.runtime["note"] == "extra buffer types off: their kernels crashed (SIGSEGV)"
    said = f"extra_buffers=off ({FILE}: extra buffer types off: their kernels crashed (SIGSEGV))"
    assert said in capfd.readouterr().err


def test_a_sound_runtime_has_no_note(project: Project) -> None:
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    backend.close()
    assert backend.runtime["extra_buffers"] is True and "note" not in backend.runtime
    assert backend.runtime["package"].startswith("llama-cpp-python ") and "CPU" in backend.runtime["system"]


<<<<<<< HEAD
=======
def test_weights_that_are_no_numbers_are_a_fault_and_no_empty_answers(project: Project) -> None:
    path = gguf_path(project, "Q8_0")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 4] + b"\xff" * (len(whole) - len(whole) // 4))
    with pytest.raises(ModelFault) as caught:
        answers(project)
    assert caught.value.code == "E470" and "NaN" in caught.value.message and caught.value.fix == REDO


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


>>>>>>> breaker
def test_a_missing_package_is_said_with_the_command_that_installs_it(
    project: Project, dying: Callable[..., Path]
) -> None:
    dying("start", "sys.modules['llama_cpp'] = None")
    with pytest.raises(FinetuneError, match=r'E520 .*Fix: run pip install -e "\.\[export\]"'):
        answers(project)


def test_the_process_sees_no_secret_and_leaves_nothing_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    pid = backend._child.pid
    seen = Path(f"/proc/{pid}/environ").read_bytes().decode()
    assert "secret" not in seen and f"HOME={tmp_path}" in seen
    backend.close()
    backend.close()
    assert is_gone(pid) and sorted(tmp_path.iterdir()) == before


def test_a_prompt_larger_than_any_pipe_passes_and_a_stopped_process_blocks_nobody(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "30")
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    large = [{"role": "user", "content": "parcel " * 100_000}]
    assert len(backend.prompt_ids(large)) > 100_000
    backend._child._limit = 1
    os.kill(backend._child.pid, signal.SIGSTOP)
    with pytest.raises(ModelFault, match=r"E482 .* while reading a prompt with"):
        backend.prompt_ids(large)


def test_a_slow_answer_gives_signs_of_life(project: Project, dying: Callable[..., Path]) -> None:
    dying("decode", "time.sleep(0.7)", after=2)
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    backend._child._limit = 3
    (answer,) = backend.generate([[{"role": "user", "content": "Count to one hundred."}]], 8)
    backend.close()
    assert answer.tokens == 8 and answer.seconds > 4


OPENED = """
import os, sys, time
from pathlib import Path
from finetune.evaluation.llama_child import LlamaChild
child = LlamaChild(Path(sys.argv[1]))
child.load(context=64, threads=1, extra_buffers=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_step_takes_its_llama_cpp_along(project: Project) -> None:
    path = gguf_path(project, "Q8_0")
    with subprocess.Popen([sys.executable, "-c", OPENED, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as step:
        assert step.stdout is not None
        child = int(step.stdout.readline())
        assert not Path(f"/proc/{child}/stat").read_text().split(") ")[1].startswith("Z")
        step.kill()
    assert is_gone(child)


def test_a_forgotten_process_ends_with_its_object(project: Project) -> None:
    child = LlamaChild(gguf_path(project, "Q8_0"))
    pid = child.pid
    del child
    assert is_gone(pid)
<<<<<<< HEAD
=======


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
>>>>>>> breaker
