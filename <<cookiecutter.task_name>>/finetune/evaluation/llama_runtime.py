"""Whether llama.cpp's fast matrix kernels can be trusted on this CPU, and what the runtime was built with.

    python -m finetune.evaluation.llama_runtime       # version, compiler, instructions, and the proof

ggml repacks weights into "extra buffer types" for faster kernels (AMX tiles, interleaved blocks). On some CPUs with AMX
these kernels crash (docs/runtime.md). Where the CPU announces AMX they are therefore tried first, in a process of their
own, on a tiny model: they must survive, and agree with the plain kernels.
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.console import guarded, resolved, say
from finetune.errors import OK, ModelFault
from finetune.evaluation.llama_child import LlamaChild, RuntimeFault
from finetune.evaluation.llama_messages import Loaded
from finetune.evaluation.report_parts import Runtime
from finetune.evaluation.tiny_gguf import CONTEXT, write_tiny_gguf

SWITCH = "LLM_FT_EXTRA_BUFFERS"
"""Environment variable: `off` runs every GGUF file by the plain kernels, `on` skips the proof."""
CPUINFO = Path("/proc/cpuinfo")
AGREEMENT = 0.99
"""Cosine between the logits of both kinds of kernels on the tiny model; rounding leaves 0.9999, wrong tiles nothing."""


_COMPILER = re.compile(rb"GCC: \([^\x00)]{1,80}\) [0-9.]+|[A-Za-z ]{0,20}clang version [0-9.]+")


@dataclass(frozen=True)
class ExtraBuffers:
    """Whether llama.cpp may repack weights into extra buffer types, and why not."""

    on: bool
    note: str = ""


@functools.cache
def extra_buffers() -> ExtraBuffers:
    """What holds on this machine; proven once in a process where the CPU announces AMX."""
    switch = os.environ.get(SWITCH, "")
    if switch == "off":
        return ExtraBuffers(False, f"extra buffer types off: {SWITCH}=off")
    if switch == "on" or not announces_amx():
        return ExtraBuffers(True)
    say("  this CPU has AMX: trying llama.cpp's kernels for it on a tiny model …")
    proven = prove()
    resolved("extra_buffers", "on" if proven.on else "off", proven.note or "AMX kernels agree with the plain ones")
    return proven


def announces_amx() -> bool:
    """Whether the CPU says it has AMX tiles (Linux on x86; nobody else has them)."""
    try:
        return re.search(r"^flags\s*:.*\bamx_tile\b", CPUINFO.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except OSError:
        return False


def prove() -> ExtraBuffers:
    """Run a tiny model with extra buffer types and without, each in its own process, and compare.

    What cannot be proven counts as unsound: the plain kernels are slower, and never wrong.
    """
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        path = write_tiny_gguf(Path(folder) / "tiny.gguf")
        try:
            fast = _logits(path, extra=True)
            plain = _logits(path, extra=False)
        except RuntimeFault as fault:
            return ExtraBuffers(False, crash_note(fault))
        except ModelFault as fault:
            return ExtraBuffers(False, f"extra buffer types off: not proven ({fault.message})")
    if cosine(fast, plain) < AGREEMENT:
        return ExtraBuffers(False, "extra buffer types off: this CPU's AMX kernels computed wrong numbers")
    return ExtraBuffers(True)


def crash_note(fault: RuntimeFault) -> str:
    """What log and report say about kernels that crashed."""
    whose = "this CPU's AMX kernels" if announces_amx() else "their kernels"
    how = f"crashed ({fault.signal})" if fault.signal else "did not answer"
    return f"extra buffer types off: {whose} {how}"


def _logits(path: Path, *, extra: bool) -> list[float]:
    child = LlamaChild(path)
    try:
        return child.load(context=CONTEXT, threads=2, extra_buffers=extra).logits
    finally:
        child.close()


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors of the same length, -1..1; 0 where one of them is nothing."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def runtime_facts(loaded: Loaded, extra: ExtraBuffers) -> Runtime:
    """How a GGUF file was run, for the report."""
    how = Runtime(package=f"llama-cpp-python {loaded.version}", system=loaded.system, extra_buffers=extra.on)
    return how.model_copy(update={"note": extra.note}) if extra.note else how


def compilers() -> list[str]:
    """The compilers that built the installed libraries, as these name them."""
    from importlib.util import find_spec

    spec = find_spec("llama_cpp")
    installed = Path(spec.origin).parent / "lib" if spec and spec.origin else None
    folder = os.environ.get("LLAMA_CPP_LIB_PATH") or installed
    names: set[str] = set()
    for path in sorted(Path(folder).glob("*ggml*")) if folder else ():
        matches = _COMPILER.findall(path.read_bytes()) if path.is_file() else []
        names |= {name.decode("ascii", errors="replace").strip() for name in matches}
    return sorted(names)


def describe() -> int:
    """Print what the runtime is, what it was built with, and whether its kernels work here."""
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        child = LlamaChild(write_tiny_gguf(Path(folder) / "tiny.gguf"))
        try:
            loaded = child.load(context=CONTEXT, threads=2, extra_buffers=False)
        finally:
            child.close()
    say(f"package       llama-cpp-python {loaded.version}")
    say(f"compiler      {', '.join(compilers()) or 'not named in its libraries'}")
    say(f"instructions  {loaded.system}")
    say(f"AMX           {'announced by this CPU' if announces_amx() else 'not announced by this CPU'}")
    say(f"proof         {prove().note or 'extra buffer types on: they survive and agree with the plain kernels'}")
    return OK


if __name__ == "__main__":
    sys.exit(guarded(describe))
