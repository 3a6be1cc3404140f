"""Quantise a GGUF file with llama.cpp: python -m finetune.export.quantise IN OUT TYPE THREADS PARENT_PID.

In a process of its own: a failed assertion in native code ends that one, not the step; see finetune/export/gguf.py.
"""

from __future__ import annotations

import ctypes
import sys

from finetune.child_process import end_with


def main(source: str, target: str, quantisation: str, threads: str, parent: str) -> int:
    """0 when `target` was written; ends with the process `parent`."""
    end_with(int(parent))
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantisation.upper()}")
    parameters.nthread = int(threads)
    return int(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)))


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:]) else 0)
