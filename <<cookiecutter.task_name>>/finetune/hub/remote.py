"""One repository on the Hub: what is there, and how it gets the planned files in one commit and one tag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from finetune.console import say
from finetune.errors import FinetuneError, StorageFault
from finetune.hub.credentials import Credentials
from finetune.hub.plan import PlannedFile, RepoPlan
from finetune.hub.release_manifest import LARGEST, RELEASE, Changes, some, written_before
from finetune.hub_retry import (
    PRECONDITION_FAILED,
    TRANSIENT,
    describe,
    given_up,
    is_transient,
    retrying,
    status_of,
    wait_or_raise,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

P = ParamSpec("P")
T = TypeVar("T")

_HUBS_OWN = frozenset({".gitattributes"})
_MAX_CONFLICTS = 3
_PREVIEW_SECONDS = 10.0


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub reports it; `sha256` only for large files."""

    bytes: int
    git_oid: str
    sha256: str | None

    def equals(self, planned: PlannedFile) -> bool:
        if self.bytes != planned.bytes:
            return False
        return self.sha256 == planned.sha256 if self.sha256 else self.git_oid == planned.git_oid


@dataclass(frozen=True)
class Snapshot:
    """All files of one commit."""

    commit: str
    files: Mapping[str, RemoteFile]

    manifest: bytes | None = None
    """The content of release_manifest.json there."""

    def differences(self, plan: RepoPlan) -> list[str]:
        """Planned paths that are missing or have other bytes."""
        there = self.files
        return sorted(file.path for file in plan.files if file.path not in there or not there[file.path].equals(file))

    def changes(self, plan: RepoPlan) -> Changes:
        """What the plan would do to these files. The Hub's own count as nobody's, and are not told of."""
        return Changes.of(
            {file.path for file in plan.files},
            self.differences(plan),
            self.files.keys() - _HUBS_OWN,
            written_before(self.manifest),
        )


def _read(api: HfApi, repo: str, revision: str, manifest: bool, timeout: float | None = None) -> Snapshot:
    from huggingface_hub.hf_api import RepoFile

    commit = api.repo_info(repo, revision=revision, timeout=timeout).sha
    assert commit
    files = {
        entry.path: RemoteFile(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
        for entry in api.list_repo_tree(repo, revision=commit, recursive=True)
        if isinstance(entry, RepoFile)
    }
    if not manifest or RELEASE not in files or files[RELEASE].bytes > LARGEST:
        return Snapshot(commit, files)
    return Snapshot(commit, files, Path(api.hf_hub_download(repo, RELEASE, revision=commit)).read_bytes())


def preview(plan: RepoPlan) -> Changes:
    """What publishing would do, by one look at the Hub with whatever token there is; all is new where nothing is.

    Raises what the client raises.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return _read(HfApi(), plan.repo, "main", manifest=True, timeout=_PREVIEW_SECONDS).changes(plan)
    except RepositoryNotFoundError:
        return Snapshot("", {}).changes(plan)


def _translate_errors(method: Callable[Concatenate[Remote, P], T]) -> Callable[Concatenate[Remote, P], T]:
    """Turn what the client raises into the user's words; bugs pass through as they are."""

    @wraps(method)
    def wrapper(self: Remote, *arguments: P.args, **options: P.kwargs) -> T:
        try:
            return method(self, *arguments, **options)
        except FinetuneError:
            raise
        except Exception as error:
            fault = _refused(error, self.plan.repo)
            if fault is None:
                raise
            raise fault from error

    return wrapper


class Remote:
    """Operations on one repository; each can be repeated, and each raises FinetuneError with what to do."""

    def __init__(self, plan: RepoPlan, credentials: Credentials, private: bool) -> None:
        self.plan, self._credentials, self._private = plan, credentials, private

    @property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(token=self._credentials.token(self.plan.repo))

    @_translate_errors
    def prepare(self) -> None:
        """Make sure the repository exists, is not a renamed one, and may be written; nothing is uploaded."""
        repo = self.plan.repo
        retrying(lambda: self._api.create_repo(repo, private=self._private, exist_ok=True), f"create {repo}")
        retrying(lambda: self._api.auth_check(repo, write=True), f"access to {repo}")
        info = retrying(lambda: self._api.repo_info(repo), repo)
        if info.id != repo:
            fix = "write the new name into hub: of task_definition.yaml"
            raise FinetuneError(f"{repo} was renamed to {info.id}", fix, "E811")
        if bool(info.private) != self._private:
            shown = "private" if info.private else "public"
            say(f"  {repo} is {shown}, hub.private says otherwise: change it in the repository's settings on the Hub")

    @_translate_errors
    def snapshot(self, revision: str, manifest: bool = False) -> Snapshot:
        """The files at a branch, tag or commit, read at the commit it names now; `changes` needs the manifest, too."""
        return retrying(lambda: _read(self._api, self.plan.repo, revision, manifest), f"files of {self.plan.repo}")

    @_translate_errors
    def tagged(self) -> str | None:
        """The tagged commit when the tag exists with the planned content, None when there is no such tag.

        Raises FinetuneError (E812) when the tag holds anything else: a published version never changes.
        """
        refs = retrying(lambda: self._api.list_repo_refs(self.plan.repo), f"tags of {self.plan.repo}")
        if self.plan.tag not in {tag.name for tag in refs.tags}:
            return None
        tagged = self.snapshot(self.plan.tag)
        different = tagged.differences(self.plan)
        if different:
            raise FinetuneError(
                f"{self.plan.repo} has {self.plan.tag} at {tagged.commit[:12]} with other content: {some(different)}",
                "publish the changed model under a new version",
                "E812",
            )
        return tagged.commit

    @_translate_errors
    def commit(self) -> str:
        """Bring main to the planned content in one commit, or in none when it is there already; the commit's sha.

        What no release wrote stays. Every attempt starts by reading main: a commit whose answer was lost counts as
        done. Raises FinetuneError E821 where such a file is in the way, StorageFault E814 when others keep moving main.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        attempt, conflicts = 1, 0
        while True:
            current = self.snapshot("main", manifest=True)
            changes = current.changes(self.plan)
            changes.require_free(self.plan.repo)
            if changes.nothing:
                return current.commit
            planned = {file.path: file.source for file in self.plan.files}
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                CommitOperationAdd(path, planned[path]) for path in (*changes.added, *changes.replaced)
            ]
            operations += map(CommitOperationDelete, changes.deleted)
            try:
                return self._api.create_commit(
                    self.plan.repo, operations, commit_message=self.plan.message, parent_commit=current.commit
                ).oid
            except Exception as error:
                if status_of(error) == PRECONDITION_FAILED:
                    conflicts += 1
                    if conflicts > _MAX_CONFLICTS:
                        fix = "see who else pushes to it, then run again"
                        raise StorageFault(f"main of {self.plan.repo} keeps moving", fix, "E814") from None
                    continue
                wait_or_raise(error, attempt, f"commit to {self.plan.repo}")
                attempt += 1

    @_translate_errors
    def verify(self, commit: str) -> None:
        """Compare every file's size and hash at `commit` with the plan. Raises StorageFault E813."""
        different = self.snapshot(commit).differences(self.plan)
        if different:
            raise StorageFault(
                f"{self.plan.repo} at {commit[:12]} is not what was uploaded: {some(different)}",
                "no tag was set; run again, and compare the files if it happens twice",
                "E813",
            )

    @_translate_errors
    def tag(self, commit: str) -> None:
        """Set the tag at `commit`; a tag that exists by now must hold the planned content."""
        from huggingface_hub.errors import HfHubHTTPError

        def create() -> None:
            self._api.create_tag(self.plan.repo, tag=self.plan.tag, revision=commit)

        try:
            retrying(create, f"tag {self.plan.repo}")
        except HfHubHTTPError as error:
            if status_of(error) != 409 or self.tagged() is None:
                raise


def _refused(error: Exception, repo: str) -> FinetuneError | None:
    """The user's words for a failure of the client, None for an error that has nothing to do with the Hub."""
    status = status_of(error)
    if status in (401, 403):
        fix = "use a token with write access; a trusted publisher needs the repository created once by hand"
        return FinetuneError(f"no write access to {repo}: {describe(error)}", fix, "E811")
    if status == 404:
        return FinetuneError(f"{repo} cannot be found or created", "correct hub: in task_definition.yaml", "E811")
    if status is not None and 400 <= status < 500 and status not in TRANSIENT:
        return FinetuneError(f"the Hub refused {repo}: {describe(error)}", "correct what it names, run again", "E811")
    if status is None and not is_transient(error) and not isinstance(error, RuntimeError):
        return None
    # RuntimeError is what both upload paths of the client, LFS and Xet, raise when they give up.
    return given_up(error, repo)
