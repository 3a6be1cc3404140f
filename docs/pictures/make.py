"""The pictures of README.md: a data comment and an evaluation comment, by the workflows' own code over a finished demo.

`python docs/pictures/make.py [build/demo/demo-classification-en]`, after `make demo`

The data comment is of a pull request with a few more rows, one with a label that the task has not; the evaluation
comment judges the adapter that the demo trained. Nothing in them is drawn by hand; of each, the picture shows
the sections before the one named in SHOWN.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "<<cookiecutter.task_name>>")]

import yaml  # noqa: E402
from render import page, picture  # noqa: E402

from finetune.config.project import load_project  # noqa: E402
from finetune.github.train.evaluation_sections import measured  # noqa: E402
from finetune.github.train.gate import judge  # noqa: E402

NEW_ROWS = (
    ("The tracking page has said 'label created' for six days. Has anything been handed to the courier?", "shipping"),
    ("I changed my phone and now the two-step code goes to a number I no longer have.", "account"),
    ("Which size of memory card does the dash cam take, and must it be formatted first?", "technical"),
    ("Two amounts left my card for order 5518, a week apart. Please give the second one back.", "billing"),
    ("The jar of the blender came with a crack along the handle. What do I do now?", "return"),
)
WIDTH, SCALE = 860, 1.5
SHOWN = {"data_comment": "Distribution", "evaluation_comment": "Confused"}
"""The heading at which each picture ends."""


def data_comment(demo: Path, scratch: Path) -> str:
    """What `data / comment` says about NEW_ROWS."""
    for side in ("base", "head"):
        subprocess.run(["git", "clone", "-q", demo, scratch / side], check=True)
    head = scratch / "head"
    rows = [json.dumps({"input": text, "label": label}, ensure_ascii=False) for text, label in NEW_ROWS]
    (head / "data" / "raw" / "november.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for command in ("01_validate_data.py", "github.py data-summary --base ../base"):
        script, *options = command.split()
        subprocess.run([sys.executable, f"scripts/{script}", *options], cwd=head, env=_environment(head), check=False)
    return (head / "benchmarks" / "results" / "data_comment.md").read_text(encoding="utf-8")


def evaluation_comment(demo: Path) -> str:
    """What `train / report` says about the demo's adapter."""
    project = load_project(demo)
    manifest = json.loads(project.paths.data_manifest.read_text(encoding="utf-8"))
    rows = manifest["facts"]["rows"]
    report = yaml.safe_load(project.paths.report_yaml.read_text(encoding="utf-8"))
    report.pop("artefacts", None)  # a pull request is judged before steps 05 to 07
    verdict = judge(
        project, yaml.safe_dump(report, allow_unicode=True).encode(), test_rows=rows["test"],
        test_sha256=manifest["facts"]["test_sha256"], predictions=project.paths.predictions,
    )  # fmt: skip
    sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=demo, capture_output=True, text=True, check=True).stdout
    counts = f"{rows['train']:,} training, {rows['valid']:,} validation and {rows['test']:,} test rows"
    return "\n\n".join(measured(project, verdict, f"`{sha[:12]}` was trained on this machine: {counts}."))


def _environment(root: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}


def main() -> int:
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "demo" / "demo-classification-en").resolve()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        told = {"data_comment": data_comment(demo, scratch), "evaluation_comment": evaluation_comment(demo)}
        for name, text in told.items():
            file = scratch / f"{name}.md"
            file.write_text(re.split(rf"^#+ {SHOWN[name]}", text, flags=re.MULTILINE)[0], encoding="utf-8")
            (ROOT / "build" / f"{name}.md").write_text(text, encoding="utf-8")
            picture(page(file, WIDTH, comment=True, dark=False), HERE / f"{name}.png", WIDTH, SCALE)
            print(f"docs/pictures/{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
