"""How long to wait before a lost source is tried again."""

from __future__ import annotations

import random

from ..core.errors import Retry


class Backoff:
    """Pauses that double from ``first`` to ``longest`` seconds, each shortened at random.

    The jitter keeps cameras that were lost together (a switch, a recorder) from coming back in
    step; a pause is never below half of what it would be without, so that it still is one.

    Args:
        first: the first pause.
        longest: the longest.
        jitter: draws the random part.
    """

    def __init__(
        self, first: float, longest: float, *, jitter: random.Random | None = None
    ) -> None:
        self._first = first
        self._longest = max(first, longest)
        self._jitter = jitter or random.Random()
        self.failures = 0

    def pause(self, retry: Retry = "soon") -> float:
        """Seconds to wait after one more failure.

        ``slowly`` takes the longest pause at once: a door that answers "wrong password" is not
        to be knocked at every second, many lock the account.
        """
        full = self._longest
        if retry == "soon":
            # 2**30 s is above any pause; without a limit months of retries overflow a float.
            full = min(self._longest, self._first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return full * self._jitter.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It was well for a while: the next pause is the first again."""
        self.failures = 0
