"""The scheduler's side of a contender's process (see ``worker``)."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
from typing import IO, Any

from . import ROOT

# A first call may build an engine or an index of millions; a round takes seconds.
TIMEOUT = 900.0


class ContenderFailed(RuntimeError):
    """A contender could not do what was asked; the message is its last line."""


class ContenderTimeout(ContenderFailed):
    """It did not answer in time."""


class ContenderProcess:
    """A process that works for one contender. To be closed.

    Args:
        timeout: seconds an answer may take.
    """

    def __init__(self, *, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        # A pipe that nobody empties would block a library that prints much.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to a request.

        Raises:
            ContenderFailed: it failed or died.
            ContenderTimeout: it took too long and was killed.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ContenderFailed("its process has no pipes")
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            raise ContenderFailed(self._last_line()) from None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(self._timeout):
                self._process.kill()
                raise ContenderTimeout(f"no answer within {self._timeout:.0f} s")
        line = stdout.readline()
        if not line:
            raise ContenderFailed(self._last_line())
        answer = json.loads(line)
        if "error" in answer:
            raise ContenderFailed(answer["error"])
        return answer["answer"]

    def close(self) -> int:
        """Kill the process; returns its exit status."""
        self._process.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # an unsent request is of no use any more
        return status

    def _last_line(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        if status < 0:
            reason = f"ended by signal {-status}"
            return f"{reason} (out of memory?)" if status == -9 else reason
        return lines[-1] if lines else f"ended with status {status}"
