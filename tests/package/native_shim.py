"""A llama.cpp that dies on command: a sitecustomize.py before the real one, so that no line of the product knows of it.

    crash = native_shim.write(tmp_path, "decode", "os.kill(os.getpid(), signal.SIGSEGV)", extra_only=True)

The worker is the real one and so is its llama.cpp; only the named native call is replaced by one that runs `how`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

CALLS = {"load": "llama_model_load_from_file", "decode": "llama_decode"}

SHIM = """
import os, signal, sys, time

if "finetune.evaluation.llama_worker" in sys.orig_argv:
    def die():
        open({mark!r}, "w").write(str(os.getpid()))
        {how}

    if {call!r} == "start":
        die()
    else:
        from llama_cpp import llama_cpp as bindings

        real_load, real_call = bindings.llama_model_load_from_file, bindings.{name}
        extra, left = True, {after}

        def load(path, parameters):
            global extra
            extra = parameters.use_extra_bufts
            return call(path, parameters) if {call!r} == "load" else real_load(path, parameters)

        def call(*arguments):
            global left
            left -= 1
            if left < 0 and (extra or not {extra_only}):
                die()
            return real_call(*arguments)

        bindings.{name} = call
        bindings.llama_model_load_from_file = load
elif {amx} and any(argument.endswith("07_verify_export.py") for argument in sys.orig_argv):
    from pathlib import Path

    from finetune.evaluation import llama_runtime

    llama_runtime.CPUINFO = Path({cpuinfo!r})
"""


def write(folder: Path, call: str, how: str, *, after: int = 0, extra_only: bool = False, amx: bool = False) -> str:
    """PYTHONPATH under which the worker runs `how` (Python) at the `after`th `call`: start, load or decode.

    `extra_only` spares a worker without extra buffer types; `amx` makes step 07's CPU announce AMX. The file `mark` in
    `folder` then holds the process id of the one that came to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cpuinfo = folder / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu sse avx512f amx_bf16 amx_tile amx_int8\n", encoding="utf-8")
    text = SHIM.format(
        mark=str(folder / "mark"),
        how=how,
        call=call,
        name=CALLS.get(call, "llama_decode"),
        after=after,
        extra_only=extra_only,
        amx=amx,
        cpuinfo=str(cpuinfo),
    )
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def by(signal_name: str) -> str:
    return f"os.kill(os.getpid(), signal.{signal_name})"


CRASH, HANG = by("SIGSEGV"), "time.sleep(600)"


def is_gone(pid: int) -> bool:
    """Waits for the end of a process, ten seconds at most."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z"):
            return True  # ended, and nobody here to ask it how
        time.sleep(0.1)
    return False
