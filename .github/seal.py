"""`make seal`: write finetune/SEALED.json, the digest of every file of the machinery as this commit ships it.

    .venv/bin/python .github/seal.py            write it, print its own digest
    .venv/bin/python .github/seal.py --check    exit 2 when it is not the one this would write

After a merge both sides' seals are wrong: take either, then `make seal`. Sealed is what `cookiecutter.json` copies
verbatim below finetune/, scripts/ and .github/, and the files that finetune.machinery names. Standard library only.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "<<cookiecutter.task_name>>"
sys.path.insert(0, str(ROOT / TEMPLATE))

from finetune.machinery import SEAL, sealable, text_digest  # noqa: E402


def seal(root: Path) -> str:
    """The text of SEALED.json for the template at `root`."""
    answers = json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))
    copied = answers["_copy_without_render"]
    files = {
        name: text_digest(path)
        for name, path in sealable(root / TEMPLATE).items()
        if any(fnmatch.fnmatchcase(name, glob) for glob in copied)
    }
    return json.dumps({"version": answers["_template_version"], "files": files}, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    path, text = ROOT / TEMPLATE / SEAL, seal(ROOT)
    if arguments == ["--check"]:
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        print(f"{SEAL} is {'current' if current else 'stale: make seal'}")
        return 0 if current else 2
    path.write_text(text, encoding="utf-8", newline="\n")
    stated = json.loads(text)
    print(f"{SEAL}: {len(stated['files'])} files, v{stated['version']}, seal {text_digest(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
