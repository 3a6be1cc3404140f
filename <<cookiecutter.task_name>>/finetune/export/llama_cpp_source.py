"""llama.cpp's own converter, from the sources that the installed llama-cpp-python was built from.

Order: LLAMA_CPP_DIR (a checkout of llama.cpp), then models/tools/llama.cpp-<version> (or below LLM_FT_TOOLS, which
several repositories may share), unpacked from the source distribution of exactly the installed version, so that
converter and runtime cannot drift apart. That distribution is taken from the same folder, or from the package index
through pip (77 MB, once).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from finetune import provenance, sealed
from finetune.config.project import Project
from finetune.console import resolved, say
from finetune.errors import FinetuneError, StorageFault

PACKAGE = "llama-cpp-python"
CONVERTER = "convert_hf_to_gguf.py"
WANTED = (CONVERTER, "LICENSE", "conversion/", "gguf-py/gguf/")
"""Members below vendor/llama.cpp that the converter needs, as prefixes."""

MAX_UNPACKED = 64 * 2**20
_DOWNLOAD_SECONDS = 1800
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|API_?KEY", re.IGNORECASE)


@dataclass(frozen=True)
class Converter:
    """A converter that can be run."""

    script: Path
    library: Path
    """gguf-py of the same sources; it goes first on the module path."""
    version: str


def runtime_version() -> str:
    """Version of the installed llama-cpp-python, without a suffix such as +cu124; FinetuneError (E520) without it."""
    try:
        return metadata.version(PACKAGE).split("+")[0]
    except metadata.PackageNotFoundError:
        raise FinetuneError(f"{PACKAGE} is not installed", 'run pip install -e ".[export]"', "E520") from None


def find_converter(project: Project) -> Converter:
    """The converter for the installed runtime, fetched when it is not there yet.

    Raises FinetuneError for an unusable LLAMA_CPP_DIR (E521), StorageFault when pip cannot get the sources (E522) or
    they are not what they should be (E523).
    """
    version = runtime_version()
    if checkout := os.environ.get("LLAMA_CPP_DIR"):
        folder = Path(checkout).expanduser()
        if not (folder / CONVERTER).is_file() or not (folder / "gguf-py").is_dir():
            raise FinetuneError(
                f"LLAMA_CPP_DIR has no {CONVERTER} with gguf-py",
                "point it to a checkout of llama.cpp, or unset it",
                "E521",
            )
        resolved("converter", CONVERTER, "from LLAMA_CPP_DIR")
        return Converter(folder / CONVERTER, folder / "gguf-py", "LLAMA_CPP_DIR")
    folder = install(Path(os.environ.get("LLM_FT_TOOLS") or project.paths.root / "models" / "tools").resolve())
    resolved("converter", f"llama.cpp of {PACKAGE} {version}", "the installed runtime")
    return Converter(folder / CONVERTER, folder / "gguf-py", version)


def install(tools: Path) -> Path:
    """The folder below `tools` with the runtime's sources; unpacked there unless it is complete and unchanged.

    Unpacked under a temporary name and renamed; when two processes do it at once, the faster one wins.
    """
    version = runtime_version()
    folder = tools / f"llama.cpp-{version}"
    manifest = provenance.read_manifest(folder / provenance.MANIFEST)
    if manifest is not None and sealed.is_current(folder / provenance.MANIFEST, manifest.inputs):
        return folder
    tools.mkdir(parents=True, exist_ok=True)
    kept = tools / f"{PACKAGE.replace('-', '_')}-{version}.tar.gz"
    with tempfile.TemporaryDirectory(prefix=".llama.cpp.", dir=tools) as scratch:
        archive = kept if kept.is_file() else _download(version, Path(scratch))
        unpacked = Path(scratch) / "unpacked"
        unpack(archive, unpacked)
        outputs = sorted(path for path in unpacked.rglob("*") if path.is_file())
        provenance.write_manifest(
            unpacked / provenance.MANIFEST,
            step="llama.cpp sources",
            inputs={"sdist": provenance.sha256(archive)},
            outputs=outputs,
            facts={"version": version},
        )
        if folder.exists():
            shutil.rmtree(folder)
        try:
            os.rename(unpacked, folder)
        except OSError:
            if not (folder / provenance.MANIFEST).is_file():
                raise
    return folder


def _download(version: str, folder: Path) -> Path:
    """The source distribution, through pip with its own configuration; pip also asks its build backend for metadata."""
    say(f"  downloading the sources of {PACKAGE} {version} …")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--no-binary",
        PACKAGE,
        "--dest",
        str(folder),
        f"{PACKAGE}=={version}",
    ]
    # Proxy, index and certificate settings stay; what looks like a secret does not (an index URL is pip's own affair).
    environment = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    fix = "connect to the package index once, or set LLAMA_CPP_DIR to a checkout of llama.cpp"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=_DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise StorageFault(f"pip did not get {PACKAGE} {version} in time", fix, "E522") from None
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        reason = ([line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"])[-1]
        raise StorageFault(f"the sources of {PACKAGE} {version} could not be downloaded ({reason[:200]})", fix, "E522")
    return archives[0]


def unpack(archive: Path, target: Path) -> None:
    """The wanted members of the archive, their long prefix removed; nothing lands outside `target`.

    Only plain files are taken. StorageFault (E523) for an archive that is damaged, too large or of another shape.
    """
    fix = "delete it and run again, or set LLAMA_CPP_DIR to a checkout of llama.cpp"
    unpacked = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.partition("/vendor/llama.cpp/")[2]
                if not member.isreg() or not name.startswith(WANTED):
                    continue
                unpacked += member.size
                if unpacked > MAX_UNPACKED:
                    raise StorageFault(f"{archive.name} unpacks to more than expected", fix, "E523")
                # By hand: extraction filters came with Python 3.11.4, and Debian 12 has 3.11.2.
                path, content = target / name, tar.extractfile(member)
                if content is None or not path.resolve().is_relative_to(target.resolve()):
                    raise StorageFault(f"{archive.name} holds a path outside of its folder", fix, "E523")
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, open(path, "wb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, OSError) as failure:
        if isinstance(failure, OSError) and failure.errno is not None:
            raise  # the disk, not the archive
        raise StorageFault(f"{archive.name} is damaged ({failure})", fix, "E523") from failure
    if not (target / CONVERTER).is_file() or not (target / "gguf-py" / "gguf").is_dir():
        raise StorageFault(f"{archive.name} holds no {CONVERTER}", fix, "E523")
