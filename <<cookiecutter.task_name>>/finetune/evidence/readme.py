"""README's table of the task, written from the configurations between two markers, so that it cannot go stale unseen.

`<!-- task:start en -->` … `<!-- task:end -->`, or `zh-TW`. The generator renders the same table from its answers;
scripts/checklist.py writes it anew, and item 2.3 fails while it says something else than the configurations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from finetune.config.project import Project
from finetune.markdown import code, code_element

TASK = re.compile(r"(<!-- task:start (en|zh-TW) -->\r?\n)(.*?)(<!-- task:end -->)", re.DOTALL)
NAMED = 20
"""So many labels are named, the rest is counted."""
_TYPES = {"classification": "分類", "extraction": "擷取", "generation": "生成"}


def replace_task(text: str, project: Project) -> str | None:
    """README with the table of its first pair of markers written anew; None where it has no such pair."""
    newline = "\r\n" if "\r\n" in text else "\n"

    def table(match: re.Match[str]) -> str:
        lines = task_table(project, chinese=match[2] == "zh-TW").splitlines()
        return match[1] + newline.join(lines) + newline + match[4]

    changed, count = TASK.subn(table, text, count=1)
    return changed if count else None


def task_table(project: Project, chinese: bool) -> str:
    """Description and table, without the markers."""
    task, base = project.task, project.training.base_model
    method = {"lora": "LoRA", "qlora": "QLoRA"}[project.training.method]
    licence = task.license if task.license.startswith("LicenseRef-") else task.license.lower()
    names, secondary = task.label_names or task.entity_type_names, ", ".join(task.metric_names[1:]) or "-"
    model = f"`{base.id}`" if base.id.startswith("models/") else f"[{base.id}]({_hub(base.id)})"
    adapter, gguf, merged = (_hub(repo) for repo in (task.hub.adapter, task.hub.gguf, task.hub.merged))
    private = ("私有儲存庫：" if chinese else "private repositories: ") if task.hub.private else ""
    primary, threshold = task.metrics.primary, task.metrics.threshold
    if chinese:
        head = ("任務", f"{_TYPES[task.task_type]}（{task.task_type}），語言 `{task.language}`")
        labels = ("標籤" if task.label_names else "實體類型", _named(names, "、", " …… 另有 {} 個"))
        rows = [
            ("發布條件", f"測試集上 `{primary}` 至少 {threshold}"),
            ("其他指標", secondary.replace(", ", "、")),
            ("基礎模型", f"{model}，{method}"),
            ("發布位置", f"{private}[adapter]({adapter})（LoRA）、[GGUF]({gguf})（Ollama、llama.cpp）、"
             f"[合併模型]({merged})（vLLM）"),
            ("授權", licence),
        ]  # fmt: skip
    else:
        head = ("Task", f"{task.task_type}, language `{task.language}`")
        labels = ("Labels" if task.label_names else "Entity types", _named(names, ", ", " … and {} more"))
        rows = [
            ("Released when", f"`{primary}` is at least {threshold} on the test set"),
            ("Also reported", secondary),
            ("Base model", f"{model}, {method}"),
            ("Published as", f"{private}[adapter]({adapter}) (LoRA), [GGUF]({gguf}) (Ollama, llama.cpp), "
             f"[merged]({merged}) (vLLM)"),
            ("Licence", licence),
        ]  # fmt: skip
    description = " ".join(task.description.split()).rstrip(". 。") + ("。" if chinese else ".")
    first, *below = [f"| {left} | {right} |" for left, right in (head, *([labels] if names else []), *rows)]
    return "\n".join([description, "", first, "|:---|:---|", *below])


def _named(names: Sequence[str], comma: str, more: str) -> str:
    shown = comma.join(map(_code, names[:NAMED]))
    return shown + (more.format(len(names) - NAMED) if len(names) > NAMED else "")


def _code(name: str) -> str:
    """The name as inline code in a table's cell; a comment's opening could be taken for one of the markers."""
    return code_element(name) if "<!--" in name else code(name, bar="\\|")


def _hub(repo: str) -> str:
    return f"https://huggingface.co/{repo}"
