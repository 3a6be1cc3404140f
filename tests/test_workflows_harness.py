"""The harness itself: what act is made to do, and whose token may do what."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflows.act import pins
from workflows.fixtures import Make
from workflows.repository import NAME
from workflows.toy import push, workflow

JOBS = """
  a:
    name: w / first
    runs-on: ubuntu-24.04
    outputs: {said: "${{ steps.say.outputs.said }}"}
    steps:
      - id: say
        run: echo "said=yes" >> "$GITHUB_OUTPUT"; echo "## Sum" >> "$GITHUB_STEP_SUMMARY"
      - name: note
        run: echo "::error file=data/a.jsonl,line=3,title=E1::wrong"
  b:
    name: w / second
    needs: a
    if: needs.a.outputs.said == 'yes'
    runs-on: [self-hosted, gpu]
    steps: [{name: fails, run: exit 3}, {name: never, run: exit 0}]
  c:
    name: w / third
    needs: b
    runs-on: ubuntu-24.04
    outputs: {none: "${{ steps.none.outputs.none }}"}
    steps: [{id: none, run: exit 0}]
  d:
    name: w / last
    needs: [b, c]
    if: ${{ !cancelled() }}
    runs-on: ubuntu-24.04
    steps:
      - env: {RESULT: "${{ needs.b.result }}", EMPTY: "${{ needs.c.outputs.none }}"}
        run: test "$RESULT$EMPTY" = failure
"""


def test_every_job_has_a_result(make: Make) -> None:
    run = push(make({".github/workflows/w.yml": workflow(JOBS)}))
    assert run.jobs == {"a": "success", "b": "failure", "c": "skipped", "d": "success"}, run.log
    assert run.outputs == {("a", "say", "said"): "yes"}
    assert run.summary.strip() == "## Sum"
    (found,) = run.annotations
    assert (found.kind, found.file, found.line, found.title, found.message) == (
        "error",
        "data/a.jsonl",
        3,
        "E1",
        "wrong",
    )
    assert run.failed_steps == ["fails"] and run.ran("b") == ["fails"]


def test_a_called_workflow_shows_its_jobs_and_hands_its_result_on(make: Make) -> None:
    called = workflow(
        """
  inner:
    name: t / inner
    runs-on: ubuntu-24.04
    steps: [{env: {CODE: "${{ inputs.sha == 'abc' && vars.CODE || '9' }}"}, run: exit $CODE}]
""",
        on="{workflow_call: {inputs: {sha: {type: string, required: true}}}}",
    )
    caller = workflow("""
  train: {name: w / train, uses: ./.github/workflows/t.yml, with: {sha: abc}}
  after: {needs: train, runs-on: ubuntu-24.04, steps: [{run: exit 0}]}
""")
    forge = make({".github/workflows/w.yml": caller, ".github/workflows/t.yml": called})
    forge.variables["CODE"] = "0"
    assert push(forge).jobs == {"train / inner": "success", "train": "success", "after": "success"}
    forge.variables["CODE"] = "1"
    assert push(forge).jobs == {"train / inner": "failure", "train": "failure", "after": "skipped"}


def test_a_job_that_no_runner_takes_is_an_error_and_no_silent_skip(make: Make) -> None:
    forge = make({".github/workflows/w.yml": workflow("  a: {runs-on: windows-2025, steps: [{run: exit 0}]}\n")})
    with pytest.raises(AssertionError, match="a job wants a label"):
        push(forge)


def test_an_action_without_stand_in_and_an_event_without_start_are_errors(make: Make, tmp_path: Path) -> None:
    uses = "  a: {runs-on: ubuntu-24.04, steps: [{uses: someone/else@v1}]}\n"
    forge = make({".github/workflows/w.yml": workflow(uses), ".github/workflows/x.yml": workflow(uses, on="fork")})
    with pytest.raises(AssertionError, match="no stub for someone/else@v1"):
        pins(forge.repository.check_out("main", tmp_path / "out"))
    with pytest.raises(AssertionError, match="is not started by"):
        push(forge, "x.yml")


ASK = """
      - env: {TOKEN: "${{ github.token }}"}
        run: |
          curl -s -o /dev/null -w 'status %{http_code}\\n' -H "Authorization: Bearer $TOKEN" \\
            "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/git/trees/main"
"""


def test_a_token_has_the_permissions_of_its_job(make: Make) -> None:
    steps = f"    steps:\n      - {{uses: CHECKOUT, with: {{persist-credentials: false}}}}{ASK}"
    jobs = f"  a:\n    runs-on: ubuntu-24.04\n    permissions: {{contents: read}}\n{steps}"
    jobs += f"  b:\n    runs-on: ubuntu-24.04\n    needs: a\n    permissions: {{actions: read}}\n{steps}"
    forge = make({".github/workflows/w.yml": workflow(jobs)})
    run = push(forge)
    assert "[a] status 200" in run.log and "[b] status 403" in run.log
    assert forge.github.refused == [f"GET /repos/{NAME}/git/trees/main (w / b) needs contents:read"]


def test_a_called_job_that_asks_for_more_than_its_caller_has_never_starts(make: Make) -> None:
    inner = "  i: {runs-on: ubuntu-24.04, permissions: {statuses: write}, steps: [{run: exit 0}]}\n"
    outer = "  t: {uses: ./.github/workflows/t.yml, permissions: {statuses: read}}\n"
    files = {".github/workflows/t.yml": workflow(inner, on="workflow_call"), ".github/workflows/w.yml": workflow(outer)}
    with pytest.raises(AssertionError, match="asks for more of statuses"):
        push(make(files))


def test_a_pull_request_from_a_fork_has_no_secret_and_reads_only(make: Make) -> None:
    show = """
  a:
    runs-on: ubuntu-24.04
    permissions: {contents: write}
    steps:
      - {uses: CHECKOUT, with: {persist-credentials: false}}
      - {env: {HF_TOKEN: "${{ secrets.HF_TOKEN }}"}, run: 'echo "secret [$HF_TOKEN]"'}
      - env: {TOKEN: "${{ github.token }}"}
        run: |
          curl -s -o /dev/null -w 'status %{http_code}\\n' -H "Authorization: Bearer $TOKEN" -d '{}' \\
            "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/git/refs"
"""
    forge = make({".github/workflows/w.yml": workflow(show, on="pull_request")})
    forge.release_secrets = {"HF_TOKEN": "hf_never_here"}
    run = forge.pull_request(forge.open_pull({"f": "f"}, fork=True), workflow="w.yml")
    assert "secret []" in run.log and "status 403" in run.log


def test_a_dispatch_runs_with_its_inputs(make: Make) -> None:
    show = """
  a:
    runs-on: ubuntu-24.04
    steps: [{env: {SHA: "${{ inputs.sha }}", PR: "${{ inputs.pr }}"}, run: 'echo "got $SHA [$PR]"'}]
"""
    on = "{workflow_dispatch: {inputs: {sha: {required: true, type: string}, pr: {default: '', type: string}}}}"
    forge = make({".github/workflows/w.yml": workflow(show, on=on)})
    assert forge.run_dispatches() == []
    assert forge.gh("workflow", "run", "w.yml", "-f", "sha=abc").returncode == 0
    (run,) = forge.run_dispatches()
    assert "got abc []" in run.log and forge.github.runs[run.id].conclusion == "success"
    assert forge.run_dispatches() == []
