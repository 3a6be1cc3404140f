"""Who publishes: a token of a person or organisation, or Trusted Publishing (one short-lived token a repository).

Tokens are passed on to the client and never shown. https://huggingface.co/docs/hub/trusted-publishers
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from finetune.errors import FinetuneError
from finetune.hub_retry import describe, given_up, is_transient, retrying, status_of


class Credentials(Protocol):
    """Gives the token for a repository, and says before any upload whether it will do."""

    def token(self, repo: str) -> str: ...

    def check(self, repos: Iterable[str]) -> str:
        """Who we are, for people; FinetuneError when a repository's namespace may not be written."""
        ...


def find_credentials() -> Credentials:
    """HF_TOKEN, else Trusted Publishing where the job may mint id tokens, else the login of this machine.

    Raises FinetuneError when there is none (E809) or the machine is told to stay offline (E820).
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise FinetuneError("HF_HUB_OFFLINE is set", "unset it to publish", "E820")
    if not os.environ.get("HF_TOKEN") and _can_mint():
        return TrustedPublishing()
    os.environ.pop("HF_OIDC_RESOURCE", None)  # a token scoped to one repository would shadow HF_TOKEN
    token = get_token()
    if not token:
        raise FinetuneError(
            "no Hugging Face token",
            "set HF_TOKEN or run `hf auth login`; in GitHub Actions give the job "
            "`id-token: write` for Trusted Publishing",
            "E809",
        )
    return StaticToken(token)


def _can_mint() -> bool:
    return bool(os.environ.get("HF_OIDC_ID_TOKEN") or os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"))


@dataclass(frozen=True, repr=False)
class StaticToken:
    """One token for all repositories."""

    value: str

    def token(self, repo: str) -> str:
        return self.value

    def check(self, repos: Iterable[str]) -> str:
        from huggingface_hub import HfApi

        try:
            who = retrying(lambda: HfApi(token=self.value).whoami(), "whoami")
        except Exception as error:
            if is_transient(error):
                raise given_up(error, "whoami") from error
            if status_of(error) not in (401, 403):
                raise
            fix = "create one with write access at https://huggingface.co/settings/tokens and set HF_TOKEN"
            raise FinetuneError(f"the Hugging Face token is not accepted: {describe(error)}", fix, "E810") from None
        access = (who.get("auth") or {}).get("accessToken") or {}
        if access.get("role") == "read":
            raise FinetuneError("the Hugging Face token can only read", "use a token with write access", "E811")
        own = {who.get("name"), *_writable_orgs(who)}
        foreign = sorted({repo.split("/")[0] for repo in repos} - own)
        if foreign:
            raise FinetuneError(
                f"{who.get('name')} may not write to {', '.join(foreign)}",
                "correct hub.namespace in task_definition.yaml, or use a token of a member with write access",
                "E811",
            )
        return str(who.get("name"))


def _writable_orgs(who: dict[str, Any]) -> set[str]:
    return {org["name"] for org in who.get("orgs") or [] if org.get("roleInOrg", "write") != "read"}


class TrustedPublishing:
    """Exchanges the job's id token for a Hub token of one repository; the client repeats that before the token ends."""

    def token(self, repo: str) -> str:
        from huggingface_hub import get_token
        from huggingface_hub.errors import OIDCError

        fix = (
            f"add this repository and environment as trusted publisher of {repo} on the Hub "
            "(scripts/setup_github.py --check prints the claims), or set HF_TOKEN"
        )
        os.environ["HF_OIDC_RESOURCE"] = repo  # what the client scopes the token to
        try:
            value = retrying(get_token, f"token for {repo}")
        except OIDCError as error:
            raise FinetuneError(f"no id token for {repo}: {error}", fix, "E809") from None
        except Exception as error:
            if is_transient(error):
                raise given_up(error, repo) from error
            if status_of(error) not in (400, 401, 403, 404):
                raise
            message = f"the Hub knows no publisher with this job's claims for {repo}: {describe(error)}"
            raise FinetuneError(message, fix, "E810") from None
        finally:
            os.environ.pop("HF_OIDC_RESOURCE", None)
        assert value
        return value

    def check(self, repos: Iterable[str]) -> str:
        for repo in repos:
            self.token(repo)
        return "a trusted publisher"
