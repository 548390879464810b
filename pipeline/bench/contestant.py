"""The parent's side of a contender's process (see ``station``)."""

from __future__ import annotations

import json
import selectors
import subprocess
import tempfile
from typing import IO, Any

from .launch import python

# A first call may build an engine or an index of millions; a turn is seconds.
PATIENCE = 900.0


class ContestantFailed(RuntimeError):
    """A contender could not do what it was asked; the message is its own last words."""


class ContestantSlow(ContestantFailed):
    """It did not answer in time."""


class Contestant:
    """A process that works for one contender. To be closed.

    Args:
        patience: seconds an answer may take.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        # A pipe that nobody empties would stop a talkative library.
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._process = subprocess.Popen(
            python("facestream.pipeline.bench.station"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to a request.

        Raises:
            ContestantFailed: it failed or died.
            ContestantSlow: it took too long and was ended.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ContestantFailed("its process has no pipes")
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            raise ContestantFailed(self._last_words()) from None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(self._patience):
                self._process.kill()
                raise ContestantSlow(f"no answer within {self._patience:.0f} s")
        line = stdout.readline()
        if not line:
            raise ContestantFailed(self._last_words())
        told = json.loads(line)
        if "error" in told:
            raise ContestantFailed(told["error"])
        return told["answer"]

    def close(self) -> None:
        """End the process, at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._words):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was still to be written is of no use any more

    def _last_words(self) -> str:
        status = self._process.wait()
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        if status < 0:
            reason = f"ended by signal {-status}"
            return f"{reason} (out of memory?)" if status == -9 else reason
        return lines[-1] if lines else f"ended with status {status}"
