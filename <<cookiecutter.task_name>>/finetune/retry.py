"""How long to wait before something that may pass by itself is tried again; shared by the Hub and GitHub clients."""

from __future__ import annotations

import random
from dataclasses import dataclass

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass by themselves. 401, 403 and 404 never do and are not tried again."""


@dataclass(frozen=True)
class Policy:
    """Exponential backoff with full jitter (Brooker 2015, AWS Architecture Blog)."""

    attempts: int = 6
    first: float = 1.0
    """Largest wait before the second attempt, in seconds; it doubles from attempt to attempt."""
    cap: float = 60.0
    """Largest wait, in seconds, unless the server asks for more."""
    longest: float = 330.0
    """Largest wait a server may ask for; the Hub's rate limits have windows of 300 seconds."""

    def wait(self, attempt: int, asked: float | None = None) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1); `asked` is the server's own wish."""
        if asked is not None:
            return min(asked, self.longest) + random.uniform(0, 1)
        return random.uniform(0.5, 1.0) * min(self.cap, self.first * 2 ** (attempt - 1))
