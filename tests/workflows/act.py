"""One workflow under the real act on this host, without Docker or network; what happened in it.

act runs jobs and steps, expressions, outputs, conditions, reusable workflows and composite actions. It ignores the
filters of `on:`, permissions, environments, concurrency and timeouts, and it *skips a job whose label it does not
know and still exits 0*: so results are read job by job, and an unknown label is an error here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

STUBS = Path(__file__).parent / "stubs"
BIN = Path(sys.executable).parent
"""act, and the Python that has every package of the generated repository."""
HOSTED, GPU = "ubuntu-24.04", "gpu"
_NEWER = re.compile(r"^cache-mode: .*\n|^ +queue: max\n", re.MULTILINE)
"""What GitHub knows and act refuses to read; the static tests look at both."""
_OUTPUT = re.compile(r"needs\.([\w-]+)\.outputs\.([\w-]+)")
_OR_NOTHING = r"(needs.\1.result != 'skipped' && needs.\1.outputs.\2 || '')"
"""An output of a skipped job is empty; act hands on its expression as text."""
_USES = re.compile(r"uses:\s*([\w-]+/([\w.-]+))((?:/[\w./-]+)?)@([\w.-]+)")


@dataclass(frozen=True)
class Step:
    """A finished step; `job` is its id, with "CALLER / " before it inside a reusable workflow."""

    job: str
    name: str
    result: str


@dataclass(frozen=True)
class Annotation:
    """What a step showed on the pull request's files."""

    kind: str
    message: str
    file: str | None
    line: int | None
    title: str | None


@dataclass
class Run:
    """One finished run of a workflow."""

    workflow: str
    code: int
    seconds: float
    jobs: dict[str, str] = field(default_factory=dict)
    """Job to success, failure or skipped; every job of the file is named."""
    steps: list[Step] = field(default_factory=list)
    summary: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    outputs: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(job, step, name) to value."""
    log: str = ""
    id: int = 0

    def ran(self, job: str) -> list[str]:
        """Names of the job's finished steps, in order."""
        return [step.name for step in self.steps if step.job == job]

    @property
    def failed_steps(self) -> list[str]:
        return [step.name for step in self.steps if step.result == "failure"]


def pins(repository: Path) -> list[str]:
    """act options that put a stub in place of every action used; one without a stub is an error, never a download."""
    options = set()
    for folder in ("workflows", "actions"):
        for file in repository.glob(f".github/{folder}/**/*.yml"):
            for action, name, _, ref in _USES.findall(file.read_text(encoding="utf-8")):
                if not (STUBS / name).is_dir():
                    raise AssertionError(f"{file.name}: no stub for {action}@{ref}")
                options.add(f"--local-repository={action}@{ref}={STUBS / name}")
    return sorted(options)


def run_act(
    tree: Path,
    event: str,
    workflow: str,
    scratch: Path,
    *,
    payload: Mapping[str, object],
    inputs: Mapping[str, str],
    secrets: Mapping[str, str],
    variables: Mapping[str, str],
    environment: Mapping[str, str],
    timeout: int,
    labels: tuple[str, ...] = (HOSTED, GPU),
) -> Run:
    """Run `.github/workflows/WORKFLOW` of the checkout `tree`; temporary files go below `scratch`.

    Raises AssertionError when a job was skipped only because no runner has its label, or when act itself fails.
    """
    (scratch / "home").mkdir(parents=True, exist_ok=True)
    for file in (tree / ".github" / "workflows").glob("*.yml"):
        text = _NEWER.sub("", file.read_text(encoding="utf-8"))
        file.write_text(_OUTPUT.sub(_OR_NOTHING, text), encoding="utf-8")
    (scratch / "event.json").write_text(json.dumps(payload), encoding="utf-8")
    command = [
        str(BIN / "act"),
        event,
        "-C",
        str(tree),
        "-W",
        f".github/workflows/{workflow}",
        "--json",
        "--no-skip-checkout",
        "--no-cache-server",
        "--action-offline-mode",
        "--concurrent-jobs",
        "1",
        "--actor",
        "octocat",
        "--action-cache-path",
        str(scratch / "act"),
        "-e",
        str(scratch / "event.json"),
        *pins(tree),
        *(f"-P={label}=-self-hosted" for label in labels),
    ]
    for option, values in (("--input", inputs), ("-s", secrets), ("--var", variables), ("--env", environment)):
        for name, value in values.items():
            command += [option, f"{name}={value}"]
    clean = {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin", "HOME": str(scratch / "home"), "LANG": "C.UTF-8"}
    started = time.monotonic()
    code, output = _execute(command, clean, timeout)
    run = Run(workflow, code, time.monotonic() - started)
    jobs = yaml.safe_load((tree / ".github/workflows" / workflow).read_text(encoding="utf-8"))["jobs"]
    (scratch / "act.jsonl").write_text(output, encoding="utf-8")  # for who looks into a failed test
    _read(output, run, {values.get("name", job): job for job, values in jobs.items()})
    if "unsupported platform" in run.log:
        raise AssertionError(f"a job wants a label that no runner here has:\n{run.log[-2000:]}")
    for job in jobs:
        called = {result for name, result in run.jobs.items() if name.startswith(f"{job} / ")}
        if called:  # the result of a called workflow is that of its worst job
            run.jobs[job] = "failure" if "failure" in called else "success"
        run.jobs.setdefault(job, "skipped")
    if not run.steps and code:
        raise AssertionError(f"act could not run {workflow}:\n{run.log[-4000:]}")
    return run


def _execute(command: list[str], environment: Mapping[str, str], timeout: int) -> tuple[int, str]:
    """Run in a process group of its own, so that nothing it started outlives a timeout."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        print(output[-6000:])
        raise
    return process.returncode, output


def _read(output: str, run: Run, names: Mapping[str, str]) -> None:
    """Fill `run` from act's JSON lines; other lines belong to its log. `names`: what a job is called to its id."""
    log = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            log.append(line)
            continue
        job = _job(entry, names)
        log.append(f"[{job}] {entry.get('msg', '').rstrip()}")
        # A composite action's own steps have longer ids; the workflow's steps are what counts.
        outer = len(entry.get("stepID", [])) == 1
        command = entry.get("command")
        if "jobResult" in entry:
            run.jobs[job] = entry["jobResult"]
        elif "stepResult" in entry and entry.get("stage") == "Main" and outer:
            run.steps.append(Step(job, entry["step"].splitlines()[0], entry["stepResult"]))
        elif command == "summary":
            run.summary += entry["content"]
        elif command in ("error", "warning", "notice"):
            run.annotations.append(_annotation(command, entry))
        elif command == "set-output" and outer:
            run.outputs[job, entry["stepID"][0], entry["name"]] = entry["arg"]
    run.log = "\n".join(log)


def _job(entry: Mapping[str, object], names: Mapping[str, str]) -> str:
    """The job's id; act shows one of a called workflow as CALLER/WORKFLOW/JOB, which becomes "caller / job"."""
    parts = re.split("(?<! )/(?! )", str(entry.get("job", "")).strip())  # a job's own name may hold " / "
    name = str(entry.get("jobID", ""))
    return f"{names[parts[0]]} / {name}" if len(parts) == 3 else name


def _annotation(kind: str, entry: Mapping[str, object]) -> Annotation:
    place = entry.get("kvPairs") or {}
    assert isinstance(place, dict)
    line = place.get("line")
    return Annotation(kind, str(entry["arg"]), place.get("file"), int(line) if line else None, place.get("title"))
