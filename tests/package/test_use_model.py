"""Another base model from a folder: what is refused and why, what is written and in which order."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.console import run
from finetune.data.tokens.committed_tokenizer import committed_fault
from finetune.errors import BadInput, FinetuneError, Problems
from finetune.export.converter_registry import convertible
from finetune.export.llama_cpp_source import Converter
from finetune.training.base_model import resolve_base
from finetune.use_model import judging, stage
from finetune.use_model.candidate import count_parameters, read_card
from finetune.use_model.families import FAMILIES, table
from finetune.use_model.licences import judge_licence, named_licence
from finetune.use_model.memory import propose
from finetune.use_model.stage import use_model
from repository import ROOT
from tokenizer_kinds import edit

Make = Callable[..., Project]
KNOWN = frozenset({"LlamaForCausalLM"})


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter's table without its sources; test_the_pinned_converter reads the real ones."""
    monkeypatch.setattr(judging, "find_converter", lambda project: None)
    monkeypatch.setattr(judging, "convertible", lambda converter: KNOWN)


@pytest.fixture
def other(tiny_base: Path, tmp_path: Path) -> Path:
    """A folder elsewhere on this disk with a model that fits."""
    folder = Path(shutil.copytree(tiny_base, tmp_path / "elsewhere" / "other-model"))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    return folder


def config(folder: Path, **values: Any) -> None:
    edit(folder, "config.json", **values)


def codes(project: Project, folder: Path, **options: Any) -> set[str]:
    """Codes of the errors that `folder` is refused with; nothing may be written then."""
    before = tree(project.paths.root)
    with pytest.raises(BadInput) as failure:
        use_model(project, str(folder), **options)
    assert tree(project.paths.root) == before
    return {problem.code for problem in failure.value.problems.errors}


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): provenance.sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_folder_elsewhere_is_linked_configured_and_found(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True)
    text = project.paths.training_config.read_text(encoding="utf-8")
    assert use_model(project, str(other)) == 0
    said = capsys.readouterr().err
    now = load_project(project.paths.root)
    base = now.training.base_model
    assert (base.id, base.license, base.enable_thinking) == ("models/base/other-model", "apache-2.0", None)
    assert base.revision == provenance.tree_digest(other)[:40]
    assert (project.paths.base / "other-model").resolve() == other and resolve_base(now).source == "local"
    assert committed_fault(now) == "" and now.paths.tokenizer.is_dir()
    assert "E623" in said and "E624" in said and "+  id: models/base/other-model" in said
    new = project.paths.training_config.read_text(encoding="utf-8")
    assert re.sub(r"(id|revision): .*", "", new) == re.sub(r"(id|revision): .*", "", text).replace(
        "license: apache-2.0\n", "license: apache-2.0\n  enable_thinking: null\n"
    )


def test_the_generated_file_keeps_every_comment(make_project: Make, other: Path) -> None:
    project = make_project(base=True)
    text = (
        "# On top.\nversion: 1\n\nbase_model:\n  id: models/base/tiny\n  revision: '0'      # a commit\n"
        "  license: apache-2.0\n  # About thinking.\n  enable_thinking: null\n\nmethod: lora    # or qlora\n"
        "optimiser: {learning_rate: 1e-3, epochs: 1}\nbatch:\n    per_device: 4   # rows\n    effective: 8\n"
        "max_length: 512\n# The end."
    )
    project.paths.training_config.write_text(text, encoding="utf-8")
    assert use_model(load_project(project.paths.root), str(other), method="qlora") == 0
    lines = project.paths.training_config.read_text(encoding="utf-8").split("\n")
    changed = [(a, b) for a, b in zip(text.split("\n"), lines, strict=True) if a != b]
    digest = provenance.tree_digest(other)[:40]
    assert changed == [
        ("  id: models/base/tiny", "  id: models/base/other-model"),
        ("  revision: '0'      # a commit", f"  revision: '{digest}'  # a commit"),
        ("method: lora    # or qlora", "method: qlora   # or qlora"),
    ]


def test_twice_changes_nothing(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True)
    assert use_model(project, str(other)) == 0
    before = tree(project.paths.root)
    capsys.readouterr()
    for name in (str(other), "models/base/other-model"):
        assert use_model(load_project(project.paths.root), name) == 0
        assert "stays as it is" in capsys.readouterr().err
    assert tree(project.paths.root) == before


def test_a_dry_run_writes_nothing(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True)
    before = tree(project.paths.root)
    assert use_model(project, str(other), dry_run=True) == 0
    assert tree(project.paths.root) == before and not (project.paths.base / "other-model").exists()
    assert "nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize("stop", ["write_tokenizer", "link_folder"])
def test_a_run_that_is_killed_leaves_the_old_model_and_the_next_one_finishes(
    make_project: Make, other: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    project = make_project(base=True)
    text, real = project.paths.training_config.read_bytes(), getattr(stage, stop)

    def killed(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, stop, killed)
    with pytest.raises(KeyboardInterrupt):
        use_model(project, str(other))
    assert project.paths.training_config.read_bytes() == text
    old = load_project(project.paths.root)
    assert committed_fault(old) == ("" if stop == "link_folder" else committed_fault(old)) and resolve_base(old)
    monkeypatch.setattr(stage, stop, real)
    assert use_model(old, str(other)) == 0
    assert committed_fault(load_project(project.paths.root)) == ""


def test_the_adapter_of_the_model_before_is_named(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True)
    provenance.write_manifest(
        project.paths.adapter / provenance.MANIFEST,
        step="03_train",
        inputs={},
        outputs=[],
        facts={"base": {"id": "models/base/tiny", "revision": "sha256:0"}},
    )
    assert use_model(project, str(other)) == 0
    assert "models/adapter was trained on models/base/tiny: train again" in capsys.readouterr().err


def test_new_control_tokens_and_lengths_are_told(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True)
    file = other / "chat_template.jinja"
    file.write_text("{{ 'word ' * 9 }}" + file.read_text(encoding="utf-8"), encoding="utf-8")
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    content["added_tokens"].append(
        {**content["added_tokens"][0], "id": len(content["model"]["vocab"]), "content": "<|new|>"}
    )
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert use_model(project, str(other)) == 0
    said = capsys.readouterr().err
    assert re.search(r"looks for (\d+) control tokens instead of \d+ in every text; new: <\|new\|>", said)
    found = re.search(r"a row without text has (\d+) of max_length 512 tokens, it was (\d+)", said)
    assert found and int(found[1]) > int(found[2]) + 8


# What is refused


def _gguf_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")


REFUSED: list[tuple[str, Callable[[Path], Any]]] = [
    ("E291", lambda f: config(f, vision_config={"hidden_size": 8})),
    ("E291", lambda f: config(f, architectures=["LlamaForSequenceClassification"])),
    ("E291", lambda f: config(f, is_encoder_decoder=True)),
    ("E291", lambda f: config(f, num_local_experts=8)),
    ("E292", lambda f: config(f, quantization_config={"quant_method": "awq"})),
    ("E292", _gguf_only),
    ("E292", lambda f: (f / "model.safetensors").unlink()),
    ("E293", lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin")),
    ("E294", lambda f: config(f, model_type="nobody", architectures=["NobodyForCausalLM"])),
    ("E294", lambda f: config(f, architectures=["OwnForCausalLM"], auto_map={"AutoModelForCausalLM": "m.Own"})),
    ("E295", lambda f: config(f, architectures=["MistralForCausalLM"], model_type="mistral")),
    ("E246", lambda f: (f / "tokenizer.json").unlink()),
    ("E246", lambda f: (f / "tokenizer.json").write_text("{", encoding="utf-8")),
    ("E240", lambda f: (f / "chat_template.jinja").unlink()),
    ("E226", lambda f: config(f, max_position_embeddings=8)),
]


@pytest.mark.parametrize(("code", "damage"), REFUSED, ids=[f"{code}-{n}" for n, (code, _) in enumerate(REFUSED)])
def test_what_cannot_be_adapted_is_refused(
    make_project: Make, other: Path, code: str, damage: Callable[[Path], Any]
) -> None:
    damage(other)
    assert code in codes(make_project(base=True), other)


TEMPLATES = [
    ("E296", "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}"
             "{% endfor %}<|im_end|>", "no system role"),
    ("E296", "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}<|im_end|>", "system message"),
    ("E296", "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}<|im_end|>", "exactly once"),
    ("E297", "{% for m in messages %}{{ m.role if loop.last else loop.length }} {{ m.content }}<|im_end|>{% endfor %}",
     "E531"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "template", "says"), TEMPLATES)
def test_a_template_that_a_later_step_would_refuse_is_refused_now(
    make_project: Make, other: Path, code: str, template: str, says: str
) -> None:
    (other / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(BadInput, match=code) as failure:
        use_model(make_project(base=True), str(other))
    assert says in str(failure.value)


def chat_template(*, head: str = "", ask: str = "<|im_start|>assistant\n") -> str:
    return (
        head + "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}" + ask + "{% endif %}"
    )


def test_a_hybrid_model_has_thinking_switched_off_unless_asked_for(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True)
    ask = "<|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    (other / "chat_template.jinja").write_text(chat_template(ask=ask), encoding="utf-8")
    for options, wanted in (({}, False), ({"thinking": "on"}, True), ({"thinking": "off"}, False)):
        assert use_model(load_project(project.paths.root), str(other), **options) == 0
        assert load_project(project.paths.root).training.base_model.enable_thinking is wanted
    assert "enable_thinking=false" in capsys.readouterr().err


def test_thinking_cannot_be_switched_where_there_is_no_switch(make_project: Make, other: Path) -> None:
    assert codes(make_project(base=True), other, thinking="on") == {"E298"}


def test_a_clock_and_thoughts_are_warned_of(make_project: Make, other: Path, capsys) -> None:
    file, ask = other / "chat_template.jinja", "<|im_start|>assistant\n<think>\n"
    file.write_text(chat_template(head="{{ strftime_now('%d %b %Y') }}", ask=ask), encoding="utf-8")
    assert use_model(make_project(base=True), str(other)) == 0
    said = capsys.readouterr().err
    assert "W293" in said and "W294" in said


@pytest.mark.parametrize(
    ("name", "code"),
    [("no such/thing", "E290"), ("owner", "E290"), ("./nowhere", "E301"), ("models/base/nothing", "E301"),
     ("-x/y", "E290"), ("models/../../etc", "E301")],
)  # fmt: skip
def test_what_names_no_model_is_said(make_project: Make, name: str, code: str) -> None:
    with pytest.raises(FinetuneError) as failure:
        use_model(make_project(base=True), name)
    assert failure.value.code == code


def test_a_name_that_is_taken_is_not_overwritten(make_project: Make, other: Path) -> None:
    project = make_project(base=True)
    (project.paths.base / "other-model").mkdir()
    with pytest.raises(FinetuneError, match="E302"):
        use_model(project, str(other))
    (project.paths.base / "other-model").rmdir()
    os.symlink("/nowhere", project.paths.base / "other-model")
    with pytest.raises(FinetuneError, match="E302"):
        use_model(project, str(other))


def test_options_that_are_none_are_said_once(make_project: Make, other: Path, capsys) -> None:
    root = make_project(base=True).paths.root
    for option in ({"method": "full"}, {"thinking": "maybe"}):
        assert run(use_model, project=root, model=str(other), **option) == 2
        assert "E299" in capsys.readouterr().err


# Lengths and memory


def test_lengths_beyond_the_models_context_are_lowered_or_said(make_project: Make, other: Path, capsys) -> None:
    project = make_project(base=True, benchmark={"generation": {"context": 1024}})
    config(other, max_position_embeddings=256)
    assert use_model(project, str(other)) == 0
    assert load_project(project.paths.root).training.max_length == 256
    assert "W297" in capsys.readouterr().err


def test_memory_is_met_by_smaller_batches_first_and_by_qlora_only_when_asked(
    make_project: Make, tmp_path: Path
) -> None:
    from transformers import LlamaConfig

    eight = LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32
    )

    def at(gigabytes: int) -> Any:
        large = {"max_length": 2048, "batch": {"per_device": 8, "effective": 8}}
        context = {"generation": {"context": 4096}}
        task = {"resources": {"gpu_memory_gb": gigabytes}}
        project = make_project(training=large, benchmark=context, task=task, root=tmp_path / str(gigabytes))
        return propose(project, eight, 8_030_000_000)

    roomy, tight, small, tiny = at(80), at(24), at(12), at(4)
    assert (roomy.method, roomy.per_device, roomy.fits) == ("lora", 8, True)
    assert tight.fits and tight.method == "lora" and tight.per_device < 8 and tight.gib > tight.fit_gib
    assert small.fits and small.method == "qlora"
    assert not tiny.fits
    assert at(0).room is None and at(0).per_device == 8


# Licences, cards, weights


@pytest.mark.parametrize(
    ("theirs", "ours", "code"),
    [("apache-2.0", "mit", None), ("llama3.2", "llama3.2", None), ("llama3.2", "apache-2.0", "W290"),
     ("gemma", "apache-2.0", "W290"), ("cc-by-nc-4.0", "apache-2.0", "W290"), ("cc-by-nc-sa-4.0", "mit", "W290"),
     ("gpl-3.0", "apache-2.0", "W290"), ("qwen-research", "apache-2.0", "W290"), ("cc-by-4.0", "mit", None),
     ("nvidia-open-model-license", "mit", "W290"), (None, "mit", "W291")],
)  # fmt: skip
def test_a_licence_that_promises_too_much_is_said(theirs: str | None, ours: str, code: str | None) -> None:
    problems = Problems()
    judge_licence(theirs, ours, problems, "a/b")
    assert [problem.code for problem in problems.all] == ([code] if code else [])
    if theirs == "llama3.2" and code:
        assert "begin with Llama" in problems.all[0].message
    if theirs and "nc" in theirs:
        assert "no commercial use" in problems.all[0].message


def test_the_licence_of_a_card_is_its_name_where_it_has_one_of_its_own() -> None:
    assert named_licence({"license": "other", "license_name": "Llama-Own"}) == "llama-own"
    assert named_licence({"license": ["MIT"]}) == "mit" and named_licence({"license": "Apache-2.0"}) == "apache-2.0"
    assert (
        named_licence({}) is None
        and named_licence({"license": 3}) is None
        and named_licence({"license": "a\nb"}) is None
    )


@pytest.mark.parametrize("text", ["", "# no front", "---\n[\n---\n", "---\n- 1\n---\n", "---\nlicense: mit\n"])
def test_a_card_without_readable_metadata_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert read_card(tmp_path / "README.md") == {} and read_card(tmp_path / "none") == {}


def test_weights_are_counted_from_headers(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    real = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_base).parameters())
    assert count_parameters(tiny_base) == real
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    assert count_parameters(tmp_path) is None


# The converter, the page


def test_the_registry_is_read_from_either_shape_of_the_sources(tmp_path: Path) -> None:
    script = tmp_path / "convert_hf_to_gguf.py"
    script.write_text(
        'class M:\n    pass\n\n@ModelBase.register("AForCausalLM", "BForCausalLM")\nclass N(M):\n    pass\n'
    )
    converter = Converter(script, tmp_path, "test")
    assert convertible(converter) == {"AForCausalLM", "BForCausalLM"}
    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion" / "__init__.py").write_text('TEXT_MODEL_MAP: dict[str, str] = {"CForCausalLM": "c"}\n')
    script.write_text("import os\n")
    assert convertible(converter) == {"CForCausalLM"}
    (tmp_path / "conversion" / "__init__.py").write_text("def (:\n")
    assert convertible(converter) == frozenset()


@pytest.mark.usefixtures("llama_cpp_tools")
def test_the_pinned_converter_knows_every_tested_family(make_project: Make) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    from finetune.export.llama_cpp_source import find_converter

    known = convertible(find_converter(make_project()))
    assert {CLASSES[row.model_type] for row in FAMILIES} <= known and "NobodyForCausalLM" not in known


def test_the_page_shows_the_table_of_tested_families() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- families:start -->\n")[2].partition("\n<!-- families:end -->")[0]
    assert shown == table()


def test_the_page_names_every_refusal_and_warning() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "finetune" / "use_model").glob("*.py"))
    asked = set(re.findall(r'"([EW]29\d)"', code)) - {"E290", "E298", "E299"}  # those are about options
    assert asked <= set(re.findall(r"[EW]29\d", page))
