"""The documents of both languages: the same in all but words, in the Chinese of Taiwan, and true to the answers."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Bake
from finetune import remedies
from finetune.evidence.readme import TASK, task_table

CHINESE = ROOT / "templates" / "zh-TW"
NAMES = sorted(path.relative_to(CHINESE).as_posix() for path in CHINESE.rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")


def _faults(text: str) -> list[str]:
    spec = importlib.util.spec_from_file_location("taiwanese", ROOT / "tests" / "package" / "taiwanese.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.faults(text)


def shape(text: str) -> dict[str, Any]:
    """What a document is made of in any language: headings, commands, links, table and list lines, code spans."""
    blocks = [(kind, _commands(kind, code)) for kind, code in FENCE.findall(text)]
    prose = FENCE.sub("", text)
    lines = prose.splitlines()
    return {
        "headings": [len(line) - len(line.lstrip("#")) for line in lines if re.match("#+ ", line)],
        "blocks": blocks,
        "links": Counter(link.partition("#")[0] for link in LINK.findall(prose)),
        "tables": Counter(line.count("|") for line in lines if line.startswith("|")),
        "items": Counter(found[1] for line in lines if (found := re.match(r"(-|\d+\.|- \[ \]) ", line))),
        "spans": {span for span in SPAN.findall(prose) if span.isascii()},
    }


def _commands(kind: str, code: str) -> list[str]:
    """Commands without comments and quoted words, or the first column of a tree, or the keys of a JSON line."""
    if kind == "json":
        return re.findall(r'"(\w+)":', code)
    if kind == "mermaid":
        return [re.sub(r"\[[^]]*\]|\|[^|]*\||\{[^}]*\}", "", line) for line in code.splitlines()]
    if kind in ("text", ""):
        return [line.split("   ")[0] for line in code.splitlines() if "   " in line.strip()]
    kept = (re.sub(r"\s+# .*", "", line) for line in code.splitlines())
    return [re.sub(r'TEXT="[^"]*"|--(input|label) \S+', "", line).rstrip() for line in kept]


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_both_languages_say_the_same(bake: Bake, tmp_path: Path, task_type: str) -> None:
    english, chinese = (
        bake(task_type=task_type, language=language, labels=labels, output=tmp_path / language, sample_data=False)
        for labels in ["-" if task_type == "generation" else "a: one; b: two"]
        for language in ("en", "zh-TW")
    )
    for name in NAMES:
        ours, theirs = shape(english.text(name)), shape(chinese.text(name))
        for part, found in ours.items():
            if part == "spans":
                found = {span.replace("language `en`", "") for span in found} - {"en"}
                theirs[part] -= {"zh-TW", "-"}
                found -= {"-", "file:line: code message. Fix: …"}
            assert found == theirs[part], f"{name}: {part}"


def test_readmes_of_the_template_say_the_same() -> None:
    english, chinese = (shape((ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "README.zh-TW.md"))
    for part in ("headings", "blocks", "tables", "items"):
        assert english[part] == chinese[part], part
    swapped = {"README.md": "README.zh-TW.md", "README.zh-TW.md": "README.md"}
    assert english["links"] == Counter({swapped.get(link, link): n for link, n in chinese["links"].items()})
    assert english["spans"] <= chinese["spans"]


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_chinese_is_that_of_taiwan_and_no_line_is_broken_inside_a_sentence(bake: Bake, task_type: str) -> None:
    """A line break between two characters is a space on GitHub."""
    project = bake(task_type=task_type, language="zh-TW")
    texts = {name: project.text(name) for name in NAMES}
    for name, text in {**texts, "of the template": (ROOT / "README.zh-TW.md").read_text(encoding="utf-8")}.items():
        assert _faults(text) == [], name
        prose = FENCE.sub("", text)
        assert not re.search(r"[\u4e00-\u9fff，、；：。）]\n[\u4e00-\u9fff（A-Za-z`]", prose), name


def test_no_link_leads_nowhere(bake: Bake) -> None:
    for language in ("en", "zh-TW"):
        project = bake(language=language, task_name=f"x-{language.lower()}")
        for name in NAMES:
            for link in LINK.findall(project.text(name)):
                path, _, anchor = link.partition("#")
                if re.match("https?:", link) or name.startswith(".github"):
                    continue
                target = (project.path / name).parent / path if path else project.path / name
                inside = target.resolve().relative_to(project.path.resolve()).as_posix()
                assert inside in project.files, f"{name}: {link}"
                heads = re.findall("^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
                assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
@pytest.mark.parametrize("language", ["en", "zh-TW"])
@pytest.mark.parametrize("preset", ["24GB-8B-QLoRA", "CPU-135M-LoRA"])
def test_baked_table_is_the_one_that_the_checklist_writes(
    bake: Bake, task_type: str, language: str, preset: str
) -> None:
    project = bake(task_type=task_type, language=language, preset=preset, description="A sentence that ends. ")
    found = TASK.search(project.text("README.md"))
    assert found and found[2] == language
    assert found[3] == task_table(project.load(), chinese=language == "zh-TW") + "\n"


def test_table_of_many_labels_is_the_checklists_too(bake: Bake) -> None:
    labels = "; ".join(f"label {n}: number {n}" for n in range(25))
    for language in ("en", "zh-TW"):
        project = bake(language=language, labels=labels, sample_data=False, task_name=f"x-{language.lower()}")
        found = TASK.search(project.text("README.md"))
        assert found and found[3] == task_table(project.load(), chinese=language == "zh-TW") + "\n"


@pytest.mark.parametrize("tag", ["en", "ja", "zh-TW", "zh", "zh-Hant", "zh-CN", "zh-Hans", "yue", "zha"])
def test_language_of_the_documents_is_that_of_the_remedies(bake: Bake, tag: str) -> None:
    """init_project.py hands the definition's own tag over; a Japanese task is no Chinese one."""
    readme = bake(language="zh-TW", __language=tag).text("README.md")
    assert ("## 資料\n" in readme) == remedies.in_chinese(tag)
