"""No native crash ends a step: every way in which llama.cpp's process can end, hang or talk nonsense, for real."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import native_shim
from finetune.config.project import Project
from finetune.errors import MODEL_FAULT, FinetuneError, ModelFault
from finetune.evaluation.backends import gguf_path
from finetune.evaluation.llama_backend import LlamaCppBackend
from finetune.evaluation.llama_child import REDO, LlamaChild
from finetune.training.base_model import PACKAGED, packaged_file
from native_shim import CRASH, HANG, is_gone
from repository import ROOT

pytest.importorskip("llama_cpp", reason="the export extra is not installed")
CHATS = [[{"role": "user", "content": f"What is the capital of {land}? One word."}] for land in ("France", "Italy")]


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Any:
    """With SmolLM2's packaged GGUF where step 06 would put its own."""
    project = make_project()
    path = gguf_path(project, "Q8_0")
    path.parent.mkdir(parents=True)
    packaged = packaged_file(next(iter(PACKAGED)))
    assert packaged is not None
    path.symlink_to(packaged)
    return project


def test_an_answer_that_was_stopped_costs_only_itself(
    project: Project, dying: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in chat.py: the process that was answering is gone, and the next question gets a new one."""
    mark = dying("decode", "os.kill(os.getppid(), signal.SIGINT); time.sleep(600)", after=3)
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    with pytest.raises(KeyboardInterrupt):
        list(backend.generate(CHATS, 8))
    assert is_gone(int(mark.read_text()))
    monkeypatch.delenv("PYTHONPATH")  # the next process is not told to do it again
    assert "Paris" in next(backend.generate(CHATS, 8)).text
    backend.close()


def answers(project: Project) -> list[str]:
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    try:
        return [completion.text for completion in backend.generate(CHATS, 8)]
    finally:
        backend.close()


def workers() -> list[int]:
    """The processes in which llama.cpp works for this one, whose number stands at the end of their command."""
    ours = f"finetune.evaluation.llama_worker\0{os.getpid()}\0".encode()
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found += [int(command.parent.name)] if command.read_bytes().endswith(ours) else []
    return found


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
        ("start", "os.write(1, b'[' * 99999 + b'\\n')", 0, "E483", "wrote what is no answer", LOADING, "run the same"),
        ("start", "os.close(1); time.sleep(600)", 0, "E483", "closed its end of the pipe", LOADING, "lines above"),
    ],
)  # fmt: skip
def test_every_end_is_a_coded_fault_with_file_reason_and_remedy(
    project: Project,
    dying: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    how: str,
    after: int,
    code: str,
    message: str,
    doing: str,
    fix: str,
) -> None:
    if how == HANG:
        monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "4")
    monkeypatch.setattr("finetune.evaluation.llama_child.GRACE_SECONDS", 1)
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
    assert mark.is_file() and backend.runtime.extra_buffers is False
    assert backend.runtime.note == "extra buffer types off: their kernels crashed (SIGSEGV)"
    said = f"extra_buffers=off ({FILE}: extra buffer types off: their kernels crashed (SIGSEGV))"
    assert said in capfd.readouterr().err


def test_a_sound_runtime_has_no_note(project: Project) -> None:
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    backend.close()
    assert backend.runtime.extra_buffers is True and not backend.runtime.note
    assert backend.runtime.package.startswith("llama-cpp-python ") and "CPU" in backend.runtime.system


def test_weights_that_are_no_numbers_are_a_fault_and_no_empty_answers(project: Project) -> None:
    path = gguf_path(project, "Q8_0")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 4] + b"\xff" * (len(whole) - len(whole) // 4))
    with pytest.raises(ModelFault) as caught:
        answers(project)
    assert caught.value.code == "E470" and "NaN" in caught.value.message and caught.value.fix == REDO


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
    (pid,) = workers()
    seen = Path(f"/proc/{pid}/environ").read_bytes().decode()
    assert "secret" not in seen and f"HOME={tmp_path}" in seen
    backend.close()
    backend.close()
    assert is_gone(pid) and sorted(tmp_path.iterdir()) == before


def test_a_prompt_larger_than_any_pipe_passes_and_a_stopped_process_blocks_nobody(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "5")
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
    large = [{"role": "user", "content": "parcel " * 100_000}]
    assert len(backend.prompt_ids(large)) > 100_000
    (pid,) = workers()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ModelFault, match=r"E482 .* while reading a prompt with"):
        backend.prompt_ids(large)


def test_a_slow_answer_gives_signs_of_life(
    project: Project, dying: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "4")
    dying("decode", "time.sleep(0.7)", after=2)
    backend = LlamaCppBackend("Q8_0", gguf_path(project, "Q8_0"), project)
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
