"""Make .venv in the current folder: EXTRAS=train,demo TORCH_INDEX=… python3 -I .github/actions/setup/setup.py

Packages are installed from pyproject.toml at the versions of constraints.txt. What has a file of digests beside this
one (base.txt, tokens.txt: lock.py writes them) is taken by digest alone, as wheels: nothing is built, nothing else gets
in. Where the interpreter that runs this file has all of them at exactly those versions (a prebuilt runner image), .venv
borrows them and nothing is downloaded.
The project itself is not installed: the workflows run it from the checkout, with PYTHONPATH.
--develop is what `make setup` does: it goes on in the .venv that is there, and the project itself is installed too.

Standard library only. Exit 2: a wrong input or a Python that does not fit; exit 74: the installation failed;
exit 75: stopped.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

BAD_INPUT, IO_FAULT, INTERRUPTED = 2, 74, 75
OLDEST = (3, 11)
CONSTRAINTS = "constraints.txt"
LOCKS = Path(".github") / "actions" / "setup"
ALONE = ("tokens",)
"""Extras whose packages come without their own requirements. tokenizers asks for huggingface_hub, which it only needs
to download: 43 MB and a client of the Hub, in a job that reads what strangers write. `from tokenizers import Tokenizer`
works without, and a test holds it to that."""
HERE = ("--no-user", "--target", "")
"""Into .venv, also where a configuration file of pip says otherwise."""
ELSEWHERE = {
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_DRY_RUN",
    "PIP_NO_DEPS",
    "PIP_ONLY_DEPS",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_IGNORE_INSTALLED",
    "PIP_EDITABLE",
    "PIP_REQUIREMENT",
    "PIP_REPORT",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONUSERBASE",
}
"""Variables that send packages to another place, leave some out, or let another Python's modules in. Those that say
where packages come from (index, proxy, certificates, constraints) are the user's, and stay."""


class SetupError(Exception):
    """Why there is no environment, and what to do; `code` is the exit code.

    E244: a Python that will not do, E257: no such files or extra, E251: .venv cannot be written, E252: pip failed.
    """

    def __init__(self, message: str, code: int = BAD_INPUT, name: str = "E244") -> None:
        super().__init__(f"{name} {message}")
        self.code = code


def requirements(root: Path, extras: list[str]) -> tuple[list[str], list[str]]:
    """What pyproject.toml asks for: its dependencies and those of `extras`, and those that come alone."""
    import tomllib

    for name in ("pyproject.toml", CONSTRAINTS):
        if not (root / name).is_file():
            raise SetupError(f"no {name} in {root}: check the repository out first", name="E257")
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise SetupError(f"pyproject.toml cannot be read: {error}", name="E257") from None
    known = project.get("optional-dependencies", {})
    if unknown := [extra for extra in extras if extra not in known]:
        raise SetupError(
            f"pyproject.toml has no extra {', '.join(unknown)}; it has {', '.join(sorted(known))}", name="E257"
        )
    whole = [*project.get("dependencies", []), *(one for extra in extras if extra not in ALONE for one in known[extra])]
    return whole, [one for extra in extras if extra in ALONE for one in known[extra]]


def name_of(requirement: str) -> str:
    """The distribution's name in `requirement`, as written there."""
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]


def missing_here(root: Path, wanted: list[str], alone: list[str]) -> str:
    """What keeps this interpreter's packages from being used as they are, or "" if nothing does.

    pip itself answers: without any index it can only accept what is installed, at the pinned versions, down to the
    requirements of requirements; of those that come `alone`, only they themselves.
    """
    asking = [*pip(Path(sys.executable)), "--isolated", "install", "-c", CONSTRAINTS, *HERE]
    asking += ["--dry-run", "--no-index", "-q"]
    for options, asked in (([], wanted), (["--no-deps"], alone)):
        if not asked:
            continue
        done = subprocess.run([*asking, *options, *asked], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["pip does not run"]
            return next((line for line in lines if line.startswith("ERROR: ")), lines[-1]).removeprefix("ERROR: ")
    return ""


def borrow(root: Path, wanted: list[str]) -> None:
    """An environment without packages of its own that reads this interpreter's, and calls its tools."""
    venv = make_venv(root, "--without-pip")
    folders = [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (venv / "lib" / version / "site-packages" / "borrowed.pth").write_text("\n".join(folders) + "\n", encoding="utf-8")
    scripts = Path(sysconfig.get_path("scripts")).resolve()
    for name in {name_of(requirement) for requirement in wanted}:
        try:
            files = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError:
            continue  # asked for on another platform only
        for tool in (Path(str(file.locate())).resolve() for file in files):
            if tool.parent == scripts and not (venv / "bin" / tool.name).exists():
                (venv / "bin" / tool.name).symlink_to(tool)


def locks_of(root: Path, extras: list[str], needed: list[str]) -> list[Path]:
    """The files of digests for the base install and `extras`, or [] where one of them has none.

    Raises SetupError when they leave out one of the `needed` requirements.
    """
    files = [LOCKS / f"{name}.txt" for name in ("base", *extras)]
    if not all((root / file).is_file() for file in files):
        return []
    text = "".join((root / file).read_text(encoding="utf-8") for file in files)
    locked = {re.sub("[-_.]+", "-", name).lower() for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    if absent := [one for one in needed if re.sub("[-_.]+", "-", name_of(one)).lower() not in locked]:
        listed = ", ".join(map(str, files))
        raise SetupError(f"{', '.join(absent)} of pyproject.toml is not in {listed}. Fix: python3 {LOCKS}/lock.py")
    return files


def install(root: Path, wanted: list[str], alone: list[str], torch_index: str, locks: list[Path]) -> None:
    """Download and install all at the pinned versions; what has to be built is built with pinned tools.

    With `locks` nothing is built, and no file is taken whose digest is not there.
    """
    python = make_venv(root) / "bin" / "python"
    if locks:
        asked = [option for file in locks for option in ("-r", str(file))]
        run_pip(root, python, "--no-cache-dir", "--no-deps", "--require-hashes", "--only-binary", ":all:", *asked)
        return
    install_torch(root, python, wanted, torch_index, "--no-cache-dir")
    if wanted:
        run_pip(root, python, "--no-cache-dir", *wanted)
    if alone:
        run_pip(root, python, "--no-cache-dir", "--no-deps", *alone)


def install_torch(root: Path, python: Path, wanted: list[str], torch_index: str, *options: str) -> None:
    """Nothing but torch itself comes from that index: a name it happens to carry cannot replace a package of PyPI."""
    torch = [requirement for requirement in wanted if name_of(requirement) == "torch"]
    if torch and torch_index:
        run_pip(root, python, *options, "--no-deps", "--index-url", torch_index, *torch)


def develop(root: Path, extras: list[str], torch_index: str) -> str:
    """`make setup`: an interrupted installation goes on, downloads are kept, and the project is installed too."""
    check_python()
    wanted, _ = requirements(root, extras)
    print(f".venv: installing {', '.join(extras)} at the versions of {CONSTRAINTS}; minutes the first time", flush=True)
    python = make_venv(root, keep=True) / "bin" / "python"
    install_torch(root, python, wanted, torch_index)
    run_pip(root, python, "-e", f".[{','.join(extras)}]" if extras else ".")
    return f".venv: installed from {CONSTRAINTS}"


def make_venv(root: Path, *options: str, keep: bool = False) -> Path:
    """A fresh .venv, whatever lay there: a reused runner must not lend a job the packages of an older one."""
    venv = root / ".venv"
    try:
        if keep:
            check_writable(venv)
        elif venv.is_symlink() or venv.is_file():
            venv.unlink()
        elif venv.exists():
            shutil.rmtree(venv)
    except OSError as error:
        raise SetupError(
            f"{error.filename or venv}: {error.strerror}; .venv is {owner(venv)}'s and this runs as {owner()}. "
            f"Fix: sudo rm -rf {shlex.quote(str(venv))}, and always use the same user",
            IO_FAULT,
            "E251",
        ) from None
    needed = ["venv", *([] if "--without-pip" in options else ["ensurepip"])]
    if not all(map(importlib.util.find_spec, needed)):
        version = "python{}.{}".format(*sys.version_info)
        raise SetupError(f"{sys.executable} has no venv module. Fix: sudo apt-get install {version}-venv")
    making = [sys.executable, "-I", "-m", "venv", *options, str(venv)]
    done = subprocess.run(making, env=quiet_environment(), check=False)
    if done.returncode:
        raise SetupError(f"{sys.executable} cannot make {venv}, its reason stands above", IO_FAULT, "E251")
    return venv


def check_writable(venv: Path) -> None:
    """Raise PermissionError for the first folder of an environment that packages could not be written to."""
    for folder in (venv, venv / "bin", *venv.glob("lib/python*/site-packages")):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def owner(path: Path | None = None) -> str:
    """The name of the user who owns `path`, or who runs this."""
    number = os.geteuid() if path is None else path.lstat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def quiet_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ELSEWHERE}


def run_pip(root: Path, python: Path, *arguments: str) -> None:
    # An isolated build takes its tools by the constraints in the environment: by the first name with pip from 25.3 on,
    # by the second before. The user's own constraints hold beside ours.
    pinned = {"PIP_BUILD_CONSTRAINT": CONSTRAINTS}
    pinned["PIP_CONSTRAINT"] = f"{CONSTRAINTS} {os.environ.get('PIP_CONSTRAINT', '')}".strip()
    shown = () if sys.stdout.isatty() else ("-q",)
    done = subprocess.run(
        [*pip(python), "install", "-c", CONSTRAINTS, "--no-input", *shown, *HERE, *arguments],
        cwd=root,
        env={**quiet_environment(), **pinned},
        check=False,
    )
    if done.returncode:
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(
            f"pip failed, its reason stands above; {CONSTRAINTS} was tested with Python 3.11, this is {version} "
            f"({sys.executable}); a failed download heals when it is run again, digests after a change of versions by "
            f"python3 {LOCKS}/lock.py",
            IO_FAULT,
            "E252",
        )


def pip(python: Path) -> list[str]:
    """-I: PYTHONPATH of a workflow would let a file of the checkout stand in for a module that pip imports."""
    return [str(python), "-I", "-m", "pip", "--disable-pip-version-check"]


def set_up(root: Path, extras: list[str], torch_index: str) -> str:
    """Make the environment; returns what was done, in one line."""
    check_python()
    wanted, alone = requirements(root, extras)
    named = f"base{''.join(f',{extra}' for extra in extras)}"
    reason = missing_here(root, wanted, alone)
    if not reason:
        borrow(root, [*wanted, *alone])
        return f".venv ({named}): borrowed from {sys.executable}, which has every pinned version"
    locks = locks_of(root, extras, [*wanted, *alone])
    install(root, wanted, alone, torch_index, locks)
    source = " and ".join(file.name for file in locks) + ", by digest" if locks else CONSTRAINTS
    return f".venv ({named}): installed from {source}; {sys.executable} could not lend it: {reason}"


def check_python() -> None:
    if sys.version_info < OLDEST:
        raise SetupError(f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}")


def main() -> int:
    extras = [extra.strip() for extra in os.environ.get("EXTRAS", "").split(",") if extra.strip()]
    make = develop if "--develop" in sys.argv[1:] else set_up
    try:
        print(make(Path.cwd(), extras, os.environ.get("TORCH_INDEX", "").strip()))
    except SetupError as error:
        if make is develop:
            print(error, file=sys.stderr)
        else:
            # ASCII JSON: whatever the message quotes, it stays one line and starts no other workflow command.
            print(f"::error title=setup::{json.dumps(str(error))[1:-1].replace('%', '%25')}", flush=True)
        return error.code
    except KeyboardInterrupt:
        print("E975 stopped by Ctrl-C. Fix: run the same command again: what is downloaded is kept", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"E974 {error.strerror or error}{where}. Fix: correct it and run the same command again", file=sys.stderr)
        return IO_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
