"""Commands inside messages, as the run at hand has to type them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
_COMMAND = re.compile(r"\b(?:scripts/(\w+\.py)|(0[1-8]_[a-z_]+\.py))(?! --smoke)\b")


def for_smoke(text: str) -> str:
    """`text` with --smoke behind every script that takes it: without it, the advice would start the real run."""
    return _COMMAND.sub(lambda found: found[0] + (" --smoke" if _takes_smoke(found[1] or found[2]) else ""), text)


@lru_cache
def _takes_smoke(name: str) -> bool:
    try:
        return '"--smoke"' in (_SCRIPTS / name).read_text(encoding="utf-8")
    except OSError:
        return name[:1] == "0"  # a numbered step that is not here, as in a training job's own folder
