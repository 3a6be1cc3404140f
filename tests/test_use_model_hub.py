"""scripts/use_model.py of the generated repository with the real huggingface_hub client against a Hub that is a fake.

The script runs as a process of its own: HF_ENDPOINT is read when the client is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from conftest import ROOT, Bake, BakedProject
from fakes.hub import HubServer, start_hub
from fakes.hub_store import Identity

sys.path.append(str(ROOT / "tests" / "package"))

from tiny_model import write_tiny_model

MODEL = "acme/small-instruct"
CARD = "---\nlicense: apache-2.0\n---\n# A model\n"
Use = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("base") / "small")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with start_hub(tmp_path) as server:
        yield server


@pytest.fixture
def project(bake: Bake) -> BakedProject:
    return bake(task_name="small-task")


@pytest.fixture
def script(server: HubServer, project: BakedProject, tmp_path: Path) -> Use:
    """`script("use_model.py", "acme/small-instruct", HF_TOKEN="…")` → exit code and what was said."""
    fixed = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ".",
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "LLM_FT_TOOLS": os.environ.get("LLM_FT_TOOLS", str(tmp_path / "tools")),
        "COLUMNS": "200",
        "PIP_INDEX_URL": "http://127.0.0.1:9/",  # without the converter's sources its question stays open
    }

    def run(name: str, *arguments: str, **environment: str) -> tuple[int, str]:
        command = [sys.executable, f"scripts/{name}", *arguments]
        done = subprocess.run(
            command, cwd=project.path, env={**fixed, **environment}, capture_output=True, text=True, timeout=180
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said and "hf_test" not in said and "hf_other" not in said, said
        return done.returncode, said

    return run


@pytest.fixture
def use(script: Use) -> Use:
    return partial(script, "use_model.py")


def configured(project: BakedProject) -> dict[str, object]:
    return project.load().training.base_model.model_dump()


def changes(project: BakedProject) -> set[str]:
    return {line[3:] for line in project.git("status", "--porcelain", "-uall").splitlines()}


def test_a_public_model_is_configured_at_its_commit(
    use: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    commit = server.hub.publish(MODEL, tiny, parameters={"BF16": 3_250_000})
    before = project.text("configs/training_config.yaml").splitlines()
    code, said = use(MODEL)
    assert code == 0, said
    assert configured(project) == {"id": MODEL, "revision": commit, "license": "apache-2.0", "enable_thinking": None}
    assert "3 million" in said and "2048 tokens" in said and "LlamaForCausalLM (llama)" in said
    after = project.text("configs/training_config.yaml").splitlines()
    changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert [after[number].split(":")[0].strip() for number in changed] == ["id", "revision"]
    assert changes(project) == {
        "configs/training_config.yaml",
        *(
            f"configs/tokenizer/{name}"
            for name in ("manifest.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
        ),
    }
    manifest = json.loads(project.text("configs/tokenizer/manifest.json"))
    assert manifest["facts"]["id"] == MODEL and manifest["facts"]["revision"] == commit
    assert server.hub.calls("GET", r"model\.safetensors") == server.hub.calls("HEAD", r"model\.safetensors") == 0


def test_the_tokenizer_alone_is_fetched_without_the_client_s_bars(
    script: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    commit = server.hub.publish(MODEL, tiny, parameters={"BF16": 3_250_000})
    assert script("use_model.py", MODEL)[0] == 0
    shutil.rmtree(project.path / "configs" / "tokenizer")
    code, said = script("fetch_tokenizer.py")
    files = "tokenizer.json, tokenizer_config.json, chat_template.jinja"
    assert (code, said.splitlines()) == (0, [
        f"  fetching the tokenizer of {MODEL} at {commit[:12]} from the Hub, without the weights",
        f"wrote configs/tokenizer ({files}) of {MODEL} at {commit[:12]}; commit it",
    ])  # fmt: skip


def test_twice_changes_nothing_and_a_page_address_is_a_name(
    use: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    server.hub.publish(MODEL, tiny)
    assert use(MODEL)[0] == 0
    before = {name: project.text(name) for name in changes(project)}
    code, said = use(f"https://huggingface.co/{MODEL}/tree/main")
    assert code == 0 and "stays as it is" in said and "configs/tokenizer is up to date" in said
    assert "what changes" not in said
    assert {name: project.text(name) for name in changes(project)} == before


def test_a_dry_run_says_the_same_and_writes_nothing(
    use: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    server.hub.publish(MODEL, tiny)
    code, said = use(MODEL, "--dry-run")
    assert code == 0 and f"+  id: {MODEL}" in said and "nothing was written" in said
    assert changes(project) == set()


def test_a_tag_becomes_its_commit_and_another_revision_is_said(
    use: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    commit = server.hub.publish(MODEL, tiny)
    server.hub.repos[MODEL].tags["v1"] = commit
    server.hub.repos[MODEL].add_commit("main", {}, "all gone")
    assert use(MODEL, "--revision", "v1")[0] == 0 and configured(project)["revision"] == commit
    code, said = use(MODEL, "--revision", "v2")
    assert code == 74 and f"E978 {MODEL} has no revision v2" in said


def test_a_renamed_model_gets_its_new_name(use: Use, server: HubServer, project: BakedProject, tiny: Path) -> None:
    server.hub.publish(MODEL, tiny)
    server.hub.renamed["acme/older"] = MODEL
    code, said = use("acme/older")
    assert code == 0 and f"acme/older is now called {MODEL}" in said and configured(project)["id"] == MODEL


def test_a_missing_and_a_private_model_are_the_same_to_a_stranger(
    use: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    server.hub.publish("acme/secret", tiny, private=True)
    for model in ("acme/none", "acme/secret"):
        code, said = use(model)
        assert code == 74 and f"E978 the Hub has no model {model} that this login may see" in said
        assert "hf auth login" in said and changes(project) == set()
    assert use("acme/secret", HF_TOKEN="hf_test")[0] == 0 and configured(project)["id"] == "acme/secret"


def test_a_gated_model_says_what_it_takes_to_get_in(
    use: Use, server: HubServer, project: BakedProject, tiny: Path
) -> None:
    server.hub.tokens["hf_other"] = Identity("other")
    server.hub.publish(MODEL, tiny, gated="manual", granted={"acme"})
    code, said = use(MODEL)
    assert code == 74 and f"E973 {MODEL} is gated: nobody is logged in here" in said and "accept its terms on" in said
    code, said = use(MODEL, HF_TOKEN="hf_other")
    assert code == 74 and "this login has no access yet" in said and "wait for the yes" in said
    assert changes(project) == set()
    code, said = use(MODEL, HF_TOKEN="hf_test")
    assert code == 0 and "W292" in said and "by hand, which may take days" in said and "docs/models.md" in said
    assert configured(project)["id"] == MODEL


def test_on_a_runner_a_closed_gate_names_the_two_ways(use: Use, server: HubServer, tiny: Path) -> None:
    server.hub.publish(MODEL, tiny, gated="auto")
    code, said = use(MODEL, GITHUB_ACTIONS="true")
    assert code == 74 and "HF_HOME" in said and "HF_READ_TOKEN" in said and "gpu-base" in said


def test_a_short_rate_limit_is_waited_for(use: Use, server: HubServer, project: BakedProject, tiny: Path) -> None:
    server.hub.publish(MODEL, tiny)
    server.hub.fail("GET", f"/api/models/{MODEL}", status=429, headers={"Retry-After": "1"})
    code, said = use(MODEL)
    assert code == 0 and "HTTP 429" in said and "attempt 2 of 6" in said
    assert configured(project)["id"] == MODEL


def test_a_hub_that_refuses_is_quoted(use: Use, server: HubServer, project: BakedProject, tiny: Path) -> None:
    server.hub.publish(MODEL, tiny)
    server.hub.fail("GET", f"/api/models/{MODEL}", status=451, times=9)
    code, said = use(MODEL)
    assert code == 74 and "E973" in said and "HTTP 451" in said and changes(project) == set()


def test_without_the_hub_its_cache_is_used_else_it_is_said(
    use: Use, server: HubServer, project: BakedProject, tiny: Path, tmp_path: Path
) -> None:
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    for environment in (closed, {"HF_HUB_OFFLINE": "1"}):
        code, said = use(MODEL, **environment)
        assert code == 74 and f"E972 cannot reach the Hub for {MODEL}" in said and "give a folder" in said
    commit = "c" * 40
    cache = tmp_path / "hf" / "hub" / f"models--{MODEL.replace('/', '--')}"
    shutil.copytree(tiny, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit, encoding="ascii")
    for environment in (closed, {"HF_HUB_OFFLINE": "1"}):
        code, said = use(MODEL, **environment)
        assert code == 0 and "as it lies in the cache" in said, said
    assert configured(project) == {"id": MODEL, "revision": commit, "license": "apache-2.0", "enable_thinking": None}


def test_without_the_hub_the_packaged_model_is_found(use: Use, project: BakedProject) -> None:
    smol = project.load(smoke=True).training.base_model
    code, said = use(smol.id, HF_HUB_OFFLINE="1")
    assert code == 0 and "from its package" in said, said
    assert configured(project) == smol.model_dump()


def test_a_card_without_licence_is_a_warning(use: Use, server: HubServer, project: BakedProject, tiny: Path) -> None:
    server.hub.publish(MODEL, tiny)
    server.hub.repos[MODEL].add_commit(
        "main", {name: file for name, file in server.hub.files(MODEL).items() if name != "README.md"}, "no card"
    )
    code, said = use(MODEL)
    assert code == 0 and "W291" in said and "names no licence" in said
    assert configured(project)["license"] == "unknown"


def test_a_refused_model_changes_nothing_and_all_reasons_are_said(
    use: Use, server: HubServer, project: BakedProject, tiny: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    values = json.loads((other / "config.json").read_text(encoding="utf-8"))
    values |= {"vision_config": {"hidden_size": 8}, "quantization_config": {"quant_method": "awq"}}
    (other / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (other / "chat_template.jinja").unlink()
    (other / "README.md").write_text("---\nlicense: gemma\nbase_model: acme/whole\n---\n", encoding="utf-8")
    server.hub.publish(MODEL, other)
    code, said = use(MODEL)
    assert code == 2 and all(word in said for word in ("E291", "E292", "E240", "W290", "acme/whole"))
    assert changes(project) == set()
