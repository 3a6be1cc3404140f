"""The one place that installs: borrowed or installed environments, pins that hold, messages that say what to do."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repository import ROOT, TEMPLATE

SETUP = ROOT / ".github" / "actions" / "setup" / "setup.py"
DEVELOPED = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "p"
version = "1"
dependencies = ["alpha"]
"""
BACKEND = """
import os, zipfile
def build_editable(folder, *_, **__):
    info = "p-1.dist-info/"
    files = {
        "p.pth": os.getcwd(), info + "RECORD": "", info + "WHEEL": "Wheel-Version: 1.0\\nTag: py3-none-any\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: p\\nVersion: 1\\nRequires-Dist: alpha\\n",
    }
    with zipfile.ZipFile(os.path.join(folder, "p-1-py3-none-any.whl"), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "p-1-py3-none-any.whl"
"""
PROJECT = '[project]\nname = "p"\ndependencies = [{base}]\n[project.optional-dependencies]\n'


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_action", SETUP)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_project(root: Path, base: str, extras: str = "", pins: str = "") -> None:
    (root / "pyproject.toml").write_text(PROJECT.format(base=base) + extras, encoding="utf-8")
    (root / "constraints.txt").write_text(pins, encoding="utf-8")


def write_developed(root: Path) -> None:
    """A project `p` that needs alpha and can be installed as it lies, without any download."""
    write_project(root, "", pins="alpha==1.0\nbeta==1.0\n")
    for name, text in (("pyproject.toml", DEVELOPED), ("backend.py", BACKEND), ("p.py", "X = 1\n")):
        (root / name).write_text(text, encoding="utf-8")


def run(root: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The action's one command, as a runner calls it."""
    return subprocess.run(
        [sys.executable, "-I", str(SETUP), *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ".", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
    )


def in_venv(root: Path, code: str) -> str:
    done = subprocess.run(
        [root / ".venv" / "bin" / "python", "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write_wheel(index: Path, name: str, release: str, requires: str = "") -> None:
    """A package of one module that knows its version, and one tool that prints it."""
    info = f"{name}-{release}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n"
    files = {
        f"{name}.py": f'VERSION = "{release}"\ndef main():\n    print(VERSION)\n',
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-tool = {name}:main\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    index.mkdir(exist_ok=True)
    with zipfile.ZipFile(index / f"{name}-{release}-py3-none-any.whl", "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)


def simple_index(folder: Path, **releases: str) -> str:
    """The address of an index with pages, which is what --index-url takes; torch needs beta."""
    for name, release in releases.items():
        write_wheel(folder, name, release, "beta" if name == "torch" else "")
        (wheel,) = folder.glob(f"{name}-*.whl")
        (folder / name).mkdir()
        page = f'<!DOCTYPE html><html><body><a href="{wheel.as_uri()}">{wheel.name}</a></body></html>'
        (folder / name / "index.html").write_text(page, encoding="utf-8")
    return folder.as_uri()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A package index of four wheels in a folder; `alpha` needs `beta`."""
    folder = tmp_path / "index"
    for release in ("1.0", "2.0"):
        write_wheel(folder, "alpha", release, "beta")
        write_wheel(folder, "beta", release)
    return folder


def offline(index: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}


def test_interpreter_with_every_pinned_version_lends_its_packages(tmp_path: Path) -> None:
    pins = f"PyYAML=={version('PyYAML')}\npytest=={version('pytest')}\n"
    write_project(tmp_path, '"PyYAML>=6"', 'dev = ["pytest>=8"]\n', pins)
    done = run(tmp_path, EXTRAS="dev", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert "borrowed from" in done.stdout
    assert in_venv(tmp_path, "import yaml; print(yaml.__version__)") == version("PyYAML")
    tool = subprocess.run([tmp_path / ".venv/bin/pytest", "--version"], capture_output=True, text=True, check=True)
    assert version("pytest") in tool.stdout
    assert in_venv(tmp_path, "import sys; print(sys.prefix)") == str(tmp_path / ".venv")


def test_missing_packages_are_installed_at_the_pinned_versions_and_those_of_an_earlier_job_are_gone(
    tmp_path: Path, index: Path
) -> None:
    write_project(tmp_path, "", 'one = ["alpha"]\ntwo = ["beta"]\n', "alpha==1.0\nbeta==1.0\n")
    done = run(tmp_path, EXTRAS="one", **offline(index))
    assert done.returncode == 0, done.stderr
    assert "(base,one): installed from constraints.txt" in done.stdout and "alpha" in done.stdout
    assert in_venv(tmp_path, "import alpha, beta; print(alpha.VERSION, beta.VERSION)") == "1.0 1.0"
    tool = subprocess.run([tmp_path / ".venv/bin/alpha-tool"], capture_output=True, text=True, check=True)
    assert tool.stdout == "1.0\n"
    assert run(tmp_path, EXTRAS="two", **offline(index)).returncode == 0
    found = in_venv(tmp_path, "import importlib.util as u; print(u.find_spec('alpha'), bool(u.find_spec('beta')))")
    assert found == "None True"


def test_the_tokenizer_comes_without_what_it_asks_for(tmp_path: Path, index: Path) -> None:
    """`alpha` needs `beta`; in the extra `tokens` it has to do without, in any other it does not."""
    pins = "alpha==1.0\nbeta==1.0\n"
    write_project(tmp_path, "", 'tokens = ["alpha"]\nother = ["alpha"]\n', pins)
    code = "import importlib.util as u; print(bool(u.find_spec('alpha')), bool(u.find_spec('beta')))"
    for extras, found in (("tokens", "True False"), ("other", "True True"), ("other,tokens", "True True")):
        done = run(tmp_path, EXTRAS=extras, **offline(index))
        assert done.returncode == 0, done.stderr
        assert in_venv(tmp_path, code) == found


def test_the_tokenizer_is_borrowed_only_at_its_pinned_version(tmp_path: Path, index: Path) -> None:
    base = f"PyYAML=={version('PyYAML')}\n"
    write_project(
        tmp_path, '"PyYAML"', 'tokens = ["tokenizers>=0.22"]\n', f"{base}tokenizers=={version('tokenizers')}\n"
    )
    done = run(tmp_path, EXTRAS="tokens", PIP_NO_INDEX="1")
    assert done.returncode == 0 and "(base,tokens): borrowed" in done.stdout, done.stdout + done.stderr
    assert in_venv(tmp_path, "import tokenizers; print(tokenizers.__version__)") == version("tokenizers")
    write_project(tmp_path, '"PyYAML"', 'tokens = ["alpha"]\n', f"{base}alpha==2.0\n")
    done = run(tmp_path, EXTRAS="tokens", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    assert done.returncode == 74 and "borrowed" not in done.stdout  # PyYAML is no wheel of that index


def write_locks(root: Path, digest: str, files: dict[str, str]) -> None:
    folder = root / ".github" / "actions" / "setup"
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in files.items():
        (folder / name).write_text(f"{entry} \\\n    --hash=sha256:{digest}\n" if entry else "", encoding="utf-8")


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_has_digests_is_installed_by_them_alone(tmp_path: Path, index: Path) -> None:
    """The base install of a hosted job; alone, for the lock holds what others ask for."""
    write_project(tmp_path, '"alpha"', 'more = ["beta"]\n', "alpha==1.0\nbeta==1.0\n")
    wheel = index / "alpha-1.0-py3-none-any.whl"
    write_locks(tmp_path, digest_of(wheel), {"base.txt": "alpha==1.0"})
    done = run(tmp_path, **offline(index))
    assert done.returncode == 0 and "(base): installed from base.txt, by digest" in done.stdout, done.stderr
    code = "import importlib.util as u, alpha; print(alpha.VERSION, bool(u.find_spec('beta')))"
    assert in_venv(tmp_path, code) == "1.0 False"
    done = run(tmp_path, EXTRAS="more", **offline(index))
    assert done.returncode == 0 and "(base,more): installed from constraints.txt" in done.stdout, done.stderr
    wheel.write_bytes(wheel.read_bytes() + b"x")
    done = run(tmp_path, **offline(index))
    assert done.returncode == 74 and "DO NOT MATCH THE HASHES" in done.stderr and "E252" in done.stdout
    assert not list(tmp_path.glob(".venv/lib/*/site-packages/alpha*"))


def test_with_digests_nothing_is_built(tmp_path: Path, index: Path) -> None:
    """A source's build asks for tools whose digests nobody has."""
    source = index / "gamma-1.0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        (tmp_path / "setup.py").write_text("open('/dev/stderr', 'w').write('BUILT')", encoding="utf-8")
        archive.add(tmp_path / "setup.py", "gamma-1.0/setup.py")
    write_project(tmp_path, '"gamma"', pins="gamma==1.0\n")
    write_locks(tmp_path, digest_of(source), {"base.txt": "gamma==1.0"})
    done = run(tmp_path, **offline(index))
    assert done.returncode == 74 and "BUILT" not in done.stderr and "gamma" in done.stderr


@pytest.mark.parametrize(
    ("pins", "entry", "code", "sentence"),
    [
        ("alpha==1.0\n", "beta==1.0", 2, "alpha of pyproject.toml is not in"),
        ("alpha==2.0\n", "alpha==1.0", 74, "setup/lock.py"),
    ],
    ids=["new dependency", "raised version"],
)
def test_digests_of_another_list_name_the_command_that_renews_them(
    tmp_path: Path, index: Path, pins: str, entry: str, code: int, sentence: str
) -> None:
    write_project(tmp_path, '"alpha"', pins=pins)
    write_locks(tmp_path, digest_of(index / "alpha-1.0-py3-none-any.whl"), {"base.txt": entry})
    done = run(tmp_path, **offline(index))
    assert done.returncode == code and sentence in done.stdout and "setup/lock.py" in done.stdout


def required(names: list[str]) -> set[str]:
    """Those packages and all that they ask for here, by their own metadata."""
    found: set[str] = set()
    wanted = [Requirement(name) for name in names]
    while wanted:
        one = wanted.pop()
        if (one.marker is None or one.marker.evaluate({"extra": ""})) and canonicalize_name(one.name) not in found:
            found.add(canonicalize_name(one.name))
            wanted += map(Requirement, requires(one.name) or [])
    return found


def test_the_digests_are_those_of_the_pinned_base_install(setup: ModuleType) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(name): pin for name, _, pin in (line.partition("==") for line in pins) if pin}
    for extra in ("", "tokens"):
        wanted, alone = setup.requirements(ROOT, [extra] if extra else [])
        text = (SETUP.parent / f"{extra or 'base'}.txt").read_text(encoding="utf-8")
        entries = re.findall(r"^(\S+)==(\S+)(?: ;.*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
        assert len(entries) == text.count("==") - text.count(" == "), "an entry without a digest"
        assert {name: pinned.get(name) for name, _, _ in entries} == {name: pin for name, pin, _ in entries}
        here = {canonicalize_name(setup.name_of(one)) for one in alone} if extra else required(wanted)
        assert here <= {name for name, _, _ in entries}


def test_renewing_the_digests_without_uv_says_how_to_get_it(tmp_path: Path) -> None:
    write_project(tmp_path, '"alpha"')
    script = SETUP.with_name("lock.py")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr == "E244 there is no uv. Fix: pipx install uv\n"


def test_only_torch_comes_from_the_torch_index(tmp_path: Path) -> None:
    """That index offers a newer `beta` too; it must not be taken."""
    write_project(tmp_path, '"torch"', pins="torch==3.0\n")
    torch_index = simple_index(tmp_path / "torch-index", torch="3.0", beta="9.0")
    done = run(tmp_path, TORCH_INDEX=torch_index, PIP_INDEX_URL=simple_index(tmp_path / "usual", beta="1.0"))
    assert done.returncode == 0, done.stderr
    assert in_venv(tmp_path, "import torch, beta; print(torch.VERSION, beta.VERSION)") == "3.0 1.0"


def test_file_of_the_checkout_does_not_stand_in_for_a_module(tmp_path: Path) -> None:
    write_project(tmp_path, '"PyYAML"', pins=f"PyYAML=={version('PyYAML')}\n")
    for name in ("tomllib", "pip", "venv", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the checkout')\n", encoding="utf-8")
    done = run(tmp_path)
    assert done.returncode == 0 and "borrowed" in done.stdout, done.stdout + done.stderr


def test_old_environment_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("x", encoding="utf-8")
    root = tmp_path / "root"
    root.mkdir()
    (root / ".venv").symlink_to(elsewhere)
    write_project(root, '"PyYAML"', pins=f"PyYAML=={version('PyYAML')}\n")
    assert run(root).returncode == 0
    assert (elsewhere / "mine.txt").exists() and not (root / ".venv").is_symlink()


@pytest.mark.parametrize(
    ("project", "pins", "extras", "code", "sentence"),
    [
        (None, "", "", 2, "no pyproject.toml"),
        ('dependencies = ["x"', "", "", 2, "pyproject.toml cannot be read"),
        ("[project]\n", None, "", 2, "E257 no constraints.txt"),
        (
            "[project]\n[project.optional-dependencies]\na = []\n",
            "",
            "a,trian",
            2,
            "E257 pyproject.toml has no extra trian; it has a",
        ),
        ('[project]\ndependencies = ["pytest"]\n', "pytest==0.1\n", "", 74, "pip failed"),
    ],
)
def test_broken_input_is_one_annotation(
    tmp_path: Path, index: Path, project: str | None, pins: str | None, extras: str, code: int, sentence: str
) -> None:
    for name, text in (("pyproject.toml", project), ("constraints.txt", pins)):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
    done = run(tmp_path, EXTRAS=extras, **offline(index))
    assert done.returncode == code
    (annotation,) = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert annotation.startswith("::error title=setup::") and sentence in annotation
    assert "Traceback" not in done.stderr
    if code == 74:
        assert "ERROR" in done.stderr, "pip's own reason is gone"


def test_message_cannot_start_another_workflow_command(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXTRAS", "a\n::set-output name=x::y%0A::error::z")
    write_project(tmp_path, "")
    assert setup.main() == 2
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "%0A" not in printed.replace("%250A", "")


def test_old_python_is_named(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "OLDEST", (99, 0))
    with pytest.raises(setup.SetupError, match="is needed"):
        setup.set_up(tmp_path, [], "")


ELSEWHERE = {
    "user": {"PIP_USER": "1"},
    "target": {"PIP_TARGET": "{root}/elsewhere"},
    "prefix": {"PIP_PREFIX": "{root}/elsewhere"},
    "root": {"PIP_ROOT": "{root}/elsewhere"},
    "virtualenv": {"PIP_REQUIRE_VIRTUALENV": "1"},
    "no deps": {"PIP_NO_DEPS": "1"},
    "dry run": {"PIP_DRY_RUN": "1"},
    "python home": {"PYTHONHOME": "{root}/elsewhere", "PYTHONPATH": "{root}/elsewhere"},
    "configuration file": {"PIP_CONFIG_FILE": "{root}/pip.conf"},
}


@pytest.mark.parametrize("develop", [False, True], ids=["action", "make setup"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_packages_come_into_venv_wherever_pip_is_told_to_put_them(
    tmp_path: Path, index: Path, name: str, develop: bool
) -> None:
    """F34: a user's or a runner's own settings of pip."""
    write_project(tmp_path, '"alpha"', pins="alpha==1.0\nbeta==1.0\n")
    (tmp_path / "pip.conf").write_text("[install]\nuser = true\ntarget = elsewhere\n[global]\nuser = true\n")
    if develop:
        write_developed(tmp_path)
    told = {key: value.format(root=tmp_path) for key, value in ELSEWHERE[name].items()}
    done = run(tmp_path, *(["--develop"] if develop else []), **{**offline(index), **told})
    assert done.returncode == 0, done.stdout + done.stderr
    assert in_venv(tmp_path, "import alpha, beta; print(alpha.VERSION, beta.VERSION)") == "1.0 1.0"
    assert not (tmp_path / "elsewhere").exists()


def test_constraints_of_the_user_hold_beside_ours(tmp_path: Path, index: Path) -> None:
    write_project(tmp_path, '"alpha"', pins="alpha==1.0\n")
    (tmp_path / "mine.txt").write_text("beta==1.0\n", encoding="utf-8")
    done = run(tmp_path, PIP_CONSTRAINT=str(tmp_path / "mine.txt"), **offline(index))
    assert done.returncode == 0, done.stderr
    assert in_venv(tmp_path, "import alpha, beta; print(alpha.VERSION, beta.VERSION)") == "1.0 1.0"


def test_make_setup_goes_on_where_it_was_stopped(tmp_path: Path, index: Path) -> None:
    write_developed(tmp_path)
    assert run(tmp_path, "--develop", **offline(index)).returncode == 0
    mine = tmp_path / ".venv" / "mine.txt"
    mine.touch()
    done = run(tmp_path, "--develop", **offline(index))
    assert done.returncode == 0 and mine.exists() and "minutes" in done.stdout
    found = "import p, alpha; print(p.X, alpha.VERSION)"
    python = tmp_path / ".venv" / "bin" / "python"
    shown = subprocess.run([python, "-c", found], cwd=tmp_path.parent, capture_output=True, text=True, check=True)
    assert shown.stdout == "1 1.0\n"


@pytest.fixture
def of_another(tmp_path: Path) -> Iterator[Path]:
    """A repository whose .venv belongs to another user, in a place where everyone may go."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("another user can only be played by root, with setpriv")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o777)
        write_project(root, '"alpha"', pins="alpha==1.0\n")
        (root / ".venv" / "bin").mkdir(parents=True)
        (root / ".venv" / "bin" / "x").touch()
        yield root


@pytest.mark.parametrize("develop", [False, True], ids=["action", "make setup"])
def test_environment_of_another_user_is_a_coded_message(of_another: Path, develop: bool) -> None:
    """F35: a reused runner that once ran as root."""
    script = of_another / "setup.py"
    shutil.copyfile(SETUP, script)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    base = "/usr/bin/python3"
    probe = subprocess.run([*nobody, base, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False)
    if probe.returncode:
        pytest.skip("no Python that another user can start")
    done = subprocess.run(
        [*nobody, base, "-I", str(script), *(["--develop"] if develop else [])],
        cwd=of_another,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 74 and "Traceback" not in done.stderr
    message = done.stderr if develop else done.stdout.split("::error title=setup::")[1]
    assert "E251" in message and ".venv is root's and this runs as nobody" in message and "sudo rm -rf" in message
    assert (of_another / ".venv" / "bin" / "x").exists()


@pytest.mark.parametrize("gone", ["ensurepip", "venv"])
def test_python_without_venv_gets_the_line_that_helps(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Debian and Ubuntu ship it as a package of its own."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == gone else find(name))
    write_project(tmp_path, '"alpha"')
    with pytest.raises(setup.SetupError, match=r"E244 .*sudo apt-get install python3\.\d+-venv"):
        setup.develop(tmp_path, [], "")


@pytest.mark.parametrize("folder", [ROOT, TEMPLATE], ids=["repository", "template"])
def test_both_makefiles_install_by_this_script_alone(folder: Path) -> None:
    text = (folder / "Makefile").read_text(encoding="utf-8")
    assert text.count(".github/actions/setup/setup.py") == 1 and "pip install" not in text and "-m venv" not in text
    assert "unexport PYTHONHOME" in text


@pytest.mark.skipif(os.name != "posix", reason="signals a process group")
def test_ctrl_c_in_the_middle_of_a_download_is_one_line(tmp_path: Path) -> None:
    write_project(tmp_path, '"alpha"', pins="alpha==1.0\n")
    with socket.create_server(("127.0.0.1", 0)) as index:  # takes the request and never answers
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        environment = {**os.environ, "PIP_INDEX_URL": url, "PIP_NO_INDEX": "0", "PIP_CONFIG_FILE": os.devnull}
        with subprocess.Popen(
            [sys.executable, "-I", str(SETUP), "--develop"],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as setting_up:
            index.settimeout(120)
            connection, _ = index.accept()
            with connection:
                os.killpg(setting_up.pid, signal.SIGINT)
                _, said = setting_up.communicate(timeout=120)
    assert setting_up.returncode == 75 and "E975 stopped by Ctrl-C" in said and "setup.py" not in said


def test_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    steps = 'rmdir ../gone && exec "$0" -I "$1" --develop'
    done = subprocess.run(
        ["sh", "-c", steps, sys.executable, str(SETUP)], cwd=gone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 74 and done.stderr.startswith("E974 No such file or directory")
    assert "Traceback" not in done.stderr
