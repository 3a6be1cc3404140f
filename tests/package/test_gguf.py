"""Step 06: real conversion and quantisation of a tiny model, and everything that must be refused on the way."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from exporting import QUANTISATIONS, project_after, rewrite_gguf_template
from finetune.config.project import Project
from finetune.errors import OK, FinetuneError, ModelFault, StorageFault
from finetune.evaluation.llama_child import LlamaChild
from finetune.evaluation.llama_messages import Complete, Completed
from finetune.evaluation.llama_runtime import extra_buffers
from finetune.export.child import run_python
from finetune.export.gguf import convert
from finetune.export.gguf_check import check_gguf, read_facts, template_of
from finetune.export.llama_cpp_source import CONVERTER, find_converter, runtime_version, unpack


@pytest.fixture
def merged(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    return project_after("merge", make_project, tmp_path / "repository")


@pytest.fixture
def converted(make_project: Callable[..., Project], tmp_path: Path, llama_cpp_tools: None) -> Project:
    return project_after("convert", make_project, tmp_path / "repository")


def gguf(project: Project, quantisation: str) -> Path:
    return project.paths.gguf / f"small-task-{quantisation}.gguf"


def base_template(project: Project) -> bytes:
    from finetune.training.base_model import load_tokenizer, resolve_base

    return template_of(load_tokenizer(resolve_base(project)))


def test_files_are_what_they_are_called_and_llama_cpp_runs_them(converted: Project) -> None:
    merged = converted
    assert read_facts(gguf(merged, "f16")).quantised_share == 0
    assert read_facts(gguf(merged, "Q8_0")).elements["Q8_0"] > 1_000_000
    sizes = [gguf(merged, name).stat().st_size for name in ("Q4_K_M", "Q8_0", "f16")]
    assert sizes == sorted(sizes)
    for name in QUANTISATIONS:
        facts = read_facts(gguf(merged, name))
        assert facts.architecture == "llama" and facts.template == base_template(merged) and facts.eos_id == 2
        child = LlamaChild(gguf(merged, name))
        child.load(context=64, threads=1, extra_buffers=extra_buffers().on)
        answer = child.ask(Complete([1, 2, 3], 3), Completed, "answering with")
        assert answer.tokens == 3 or answer.finished
        child.close()


def test_nothing_is_made_twice_and_a_killed_run_continues(converted: Project) -> None:
    merged = converted
    times = {name: gguf(merged, name).stat().st_mtime_ns for name in QUANTISATIONS}
    assert convert(merged) == OK
    (merged.paths.gguf / "manifest.json").unlink()
    gguf(merged, "Q8_0").unlink()
    (merged.paths.gguf / ".small-task-Q8_0.gguf.7.tmp").write_bytes(b"half a file")
    convert(merged)
    again = {name: gguf(merged, name).stat().st_mtime_ns for name in times}
    assert [name for name in times if times[name] != again[name]] == ["Q8_0"]
    assert not list(merged.paths.gguf.glob(".*.tmp"))


def test_quantised_files_alone_leave_no_16_bit_file(converted: Project, make_project: Callable[..., Project]) -> None:
    before = gguf(converted, "Q8_0").stat().st_mtime_ns
    fewer = make_project(root=converted.paths.root, benchmark={"quantisations": ["Q8_0"]})
    convert(fewer)
    assert [path.name for path in converted.paths.gguf.glob("*.gguf")] == ["small-task-Q8_0.gguf"]
    assert gguf(converted, "Q8_0").stat().st_mtime_ns == before
    convert(fewer, force=True)
    assert [path.name for path in converted.paths.gguf.glob("*.gguf")] == ["small-task-Q8_0.gguf"]
    assert gguf(converted, "Q8_0").stat().st_mtime_ns > before


def test_missing_merged_model_names_the_step(make_project: Callable[..., Project]) -> None:
    with pytest.raises(FinetuneError, match=r"no merged model in models/merged.*05_merge_adapter\.py first"):
        convert(make_project(base=True))


@pytest.mark.parametrize("name", ["modeling_evil.py", "pytorch_model.bin", "weights.pt", "deep/extra.pkl"])
def test_folder_with_code_or_pickles_is_refused_and_nothing_runs(
    merged: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = merged.paths.root / "marker"
    poison = merged.paths.merged / name
    poison.parent.mkdir(exist_ok=True)
    poison.write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(merged.paths.root))  # looking for the converter would end with E521
    with pytest.raises(FinetuneError, match=f"E510 models/merged holds what could run code: {name}"):
        convert(merged)
    assert not marker.exists()


@pytest.mark.parametrize("key", ["auto_map", "custom_pipelines"])
def test_keys_that_load_code_are_refused_wherever_they_stand(merged: Project, key: str) -> None:
    path = merged.paths.merged / "config.json"
    values = json.loads(path.read_text()) | {"text_config": {key: {"AutoModel": "evil.Model"}}}
    path.write_text(json.dumps(values))
    with pytest.raises(FinetuneError, match=rf"E510 .*config\.json \({key}\)"):
        convert(merged)


def test_link_out_of_the_folder_is_refused(merged: Project) -> None:
    (merged.paths.merged / "extra.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(FinetuneError, match=r"E510 .*a link out of the folder"):
        convert(merged)


def test_weights_changed_after_the_merge_are_refused(merged: Project) -> None:
    path = merged.paths.merged / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FinetuneError, match="E505"):
        convert(merged)


def test_one_changed_byte_of_the_template_is_refused(converted: Project) -> None:
    path, template = gguf(converted, "f16"), base_template(converted)

    def check() -> None:
        check_gguf(path, quantisation="f16", template=template, eos_ids=[2], shown=path.name)

    check()
    rewrite_gguf_template(path, b"You are a helpful", b"You are a helpfuL")
    with pytest.raises(ModelFault, match=r"E775 the chat template in small-task-f16\.gguf is not the base model's"):
        check()


def test_wrong_quantisation_end_token_and_cut_file_are_refused(converted: Project) -> None:
    merged, template = converted, base_template(converted)
    with pytest.raises(ModelFault, match=r"E776 .*file type 7 instead of 15"):
        check_gguf(gguf(merged, "Q8_0"), quantisation="Q4_K_M", template=template, eos_ids=[2], shown="x")
    with pytest.raises(ModelFault, match=r"E776 .*end token 2 instead of one of"):
        check_gguf(gguf(merged, "Q8_0"), quantisation="Q8_0", template=template, eos_ids=[0], shown="x")
    cut = merged.paths.gguf / "cut.gguf"
    cut.write_bytes(gguf(merged, "Q8_0").read_bytes()[:-1000])
    with pytest.raises(ModelFault, match="E774"):
        read_facts(cut)


FAILING = """import os, sys
from pathlib import Path
Path(sys.argv[1], "environment.txt").write_text("\\n".join(os.environ))
print("the reason it failed", file=sys.stderr)
sys.exit(3)
"""


def test_failing_converter_shows_its_last_lines_sees_no_secret_and_leaves_nothing(
    merged: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tool = merged.paths.root / "llama.cpp"
    (tool / "gguf-py").mkdir(parents=True)
    (tool / CONVERTER).write_text(FAILING)
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tool))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    with pytest.raises(ModelFault, match=r"E773 converting to f16 \(small-task-f16\.gguf\) ended with exit code 3"):
        convert(merged)
    assert "the reason it failed" in capfd.readouterr().err
    seen = (merged.paths.merged / "environment.txt").read_text().split()
    assert "HF_HUB_OFFLINE" in seen and not {"HF_TOKEN", "GITHUB_TOKEN"} & set(seen)
    assert not list(merged.paths.gguf.glob("*.gguf"))


def quantising(tmp_path: Path, code: str) -> None:
    run_python(
        ["-c", code],
        label="quantising to Q8_0",
        file="x-Q8_0.gguf",
        pythonpath=str(tmp_path),
        grows=tmp_path / "x",
        expected=1,
    )


@pytest.mark.parametrize(
    ("name", "how", "fix"),
    [
        ("SIGSEGV", "was ended by SIGSEGV", "--no-binary llama-cpp-python"),
        ("SIGABRT", "was ended by SIGABRT", "docs/runtime.md"),
        ("SIGILL", "was ended by SIGILL", "lacks an instruction"),
        ("SIGKILL", "was killed by SIGKILL", "too much memory"),
        ("SIGTERM", "was ended by SIGTERM", "run the same command again"),
    ],
)
def test_tool_ended_by_a_signal_is_told_with_file_signal_and_remedy(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, how: str, fix: str
) -> None:
    code = f"import os, signal; os.write(2, b'the last words'); os.kill(os.getpid(), signal.{name})"
    with pytest.raises(ModelFault) as caught:
        quantising(tmp_path, code)
    assert str(caught.value).startswith(f"E777 quantising to Q8_0 (x-Q8_0.gguf) {how}. Fix: ")
    assert fix in caught.value.fix and caught.value.exit_code == 70
    assert "| the last words" in capfd.readouterr().err


def test_tool_that_hangs_is_ended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "1")
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(ModelFault, match=r"E778 .*\(x-Q8_0\.gguf\) gave no sign of life for 1 seconds, and was ended"):
        quantising(tmp_path, code)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_tool_that_says_or_writes_something_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "3")
    quantising(tmp_path, "import time\nfor i in range(9): print(i, flush=True); time.sleep(0.5)")
    grows = f"import time\nfor i in range(9): open({str(tmp_path / 'x')!r}, 'a').write('x'); time.sleep(0.5)"
    quantising(tmp_path, grows)


def test_full_disk_is_refused_before_the_converter_runs(merged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(StorageFault, match="E974 converting to GGUF needs about"):
        convert(merged)


def test_without_index_and_checkout_the_error_says_what_to_do(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    monkeypatch.setenv("LLM_FT_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(StorageFault, match=r"E522 .*set LLAMA_CPP_DIR to a checkout") as fault:
        find_converter(make_project())
    assert fault.value.exit_code == 74
    assert not list((tmp_path / "tools").iterdir())


def test_unusable_checkout_is_refused(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path))
    with pytest.raises(FinetuneError, match="E521"):
        find_converter(make_project())


def archive(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return path


PREFIX = "llama_cpp_python-1/vendor/llama.cpp/"
SOURCES = {PREFIX + CONVERTER: b"pass", PREFIX + "gguf-py/gguf/__init__.py": b"", PREFIX + "conversion/base.py": b""}


def test_archive_lying_in_the_tools_folder_is_used_and_repaired(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    monkeypatch.setenv("LLM_FT_TOOLS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    archive(tmp_path / f"llama_cpp_python-{runtime_version()}.tar.gz", SOURCES)
    project = make_project()
    script = find_converter(project).script
    assert script.read_bytes() == b"pass"
    script.write_bytes(b"changed")
    assert find_converter(project).script.read_bytes() == b"pass"


def test_archive_members_cannot_leave_their_folder(tmp_path: Path) -> None:
    evil = {PREFIX + "conversion/../../../outside.py": b"evil"}
    with pytest.raises(StorageFault, match="E523"):
        unpack(archive(tmp_path / "a.tar.gz", SOURCES | evil), tmp_path / "deep" / "er" / "a")
    assert not list(tmp_path.rglob("outside.py"))
    links = {PREFIX + "conversion/link": "/etc"}
    unpack(archive(tmp_path / "b.tar.gz", SOURCES | {"llama_cpp_python-1/setup.py": b""}, links), tmp_path / "b")
    found = {path.relative_to(tmp_path / "b").as_posix() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert found == {"conversion/base.py", CONVERTER, "gguf-py/gguf/__init__.py"}
    assert not os.path.lexists(tmp_path / "b" / "conversion" / "link")


@pytest.mark.parametrize("data", [b"not an archive", b""])
def test_damaged_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(StorageFault, match="E523"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "a")
