"""The decoder's process as its parent sees it: started, heard, watched, ended."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from facestream.engines.closing import Closing

from ...core.errors import Retry, SourceError
from .messages import FrameMessage, LogMessage, Message, PictureMessage, parse
from .request import DecoderRequest
from .wire import DecoderWire

log = logging.getLogger(__name__)

Cause = Literal["crash", "hang", "memory", "nonsense", "start"]
"""Why a decoder was lost: it ended by itself, gave no sign of life, needed more memory than it may
use, said what no decoder says, or could not be started."""

START_SECONDS = 10.0
"""A new interpreter on a busy machine; counts besides the time-outs of the source."""
_CHECK_EVERY = 0.1  # seconds between two checks whether reading ends
_END_SECONDS = 0.3  # for a decoder that was asked to end
_CHATTER = 300  # messages in a row that are no picture, and as many each second
_LINES = 100  # for the log, from one decoder

# What libraries need. Of the rest nobody knows what is secret.
_ENVIRONMENT = frozenset(
    {
        *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD"),
        *("PYTHONPATH", "PYTHONHOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
_DRIVERS = ("CUDA_", "NVIDIA_", "LIBVA_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """What a decoder may use.

    Attributes:
        memory: megabytes.
        silence: seconds without a sign of life after which it is killed.
    """

    memory: int = 1024
    silence: float = 30.0


class DecoderLost(SourceError):
    """A decoder's process did not do its work; ``cause`` says why."""

    def __init__(self, name: str, why: str, cause: Cause, *, retry: Retry = "soon") -> None:
        super().__init__(f"{name}: {why}", reason=why, retry=retry)
        self.cause: Cause = cause


OnLost = Callable[[str, Cause], None]
"""Gets a source's name, and why its decoder was lost."""


class DecoderLink(Closing):
    """Starts a decoder and hears it.

    Args:
        silence: seconds without a sign of life after which it hangs.
        ends: true when reading ends; checked ten times a second.

    Raises:
        DecoderLost: it cannot be started.
    """

    def __init__(
        self, request: DecoderRequest, *, silence: float, ends: Callable[[], bool], on_lost: OnLost
    ) -> None:
        self._name = request.spec.name
        self._memory = request.memory
        self._silence = silence
        self._ends = ends
        self._on_lost = on_lost
        self._patience = silence + START_SECONDS
        self._chatter, self._pictured = 0, time.monotonic()
        self._lines = 0
        self._ending: float | None = None
        self._wire, theirs = DecoderWire.pair()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start(request, theirs)
        except OSError as error:
            self.close()
            why = f"its decoder cannot be started: {error.strerror or error}"
            raise self.lost(why, "start", retry="slowly") from error
        finally:
            theirs.close()  # else its end would not be noticed

    @property
    def process_id(self) -> int | None:
        return None if self._process is None else self._process.pid

    def receive(self) -> Message | None:
        """The next message but those for the log; None where reading ended, and it says no more.

        Raises:
            DecoderLost: it crashed, hangs or says what it may not.
        """
        began = time.monotonic()
        while True:
            now = time.monotonic()
            if self._ends():
                if self._ending is None:
                    self._ending = now
                    self.send({"stop": True})
                elif now - self._ending >= _END_SECONDS:
                    return None
            content = self._content()
            if content is None:
                if self._ending is None and now - began > self._patience:
                    why = f"its decoder gave no sign of life for {self._silence:g} s"
                    raise self.lost(why, "hang")
            elif content:
                message = self._parsed(content)
                self._weigh(message, now)
                if not isinstance(message, LogMessage):
                    self._patience = self._silence  # it has started
                    return message
                began = now
                self._log(message)
            elif self._ending is None:
                raise self._crashed()
            else:
                return None

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """From any thread; never waits. What a decoder that has ended misses does not matter."""
        with suppress(OSError):
            self._wire.send(message, descriptors)

    def free(self, ring: int, slot: int) -> None:
        """The decoder may use this slot again."""
        self.send({"free": [ring, slot]})

    def lost(self, why: str, cause: Cause, *, retry: Retry = "soon") -> DecoderLost:
        """The error to raise; the decoder is killed and counted."""
        if self._process is not None:
            self._process.kill()
        self._on_lost(self._name, cause)
        return DecoderLost(self._name, why, cause, retry=retry)

    def nonsense(self) -> DecoderLost:
        """The error for what no decoder says."""
        why = "its decoder does not keep to the protocol: the stream may have taken it over"
        return self.lost(why, "nonsense", retry="slowly")

    def out_of_memory(self) -> DecoderLost:
        why = (
            f"its decoder needs more than {self._memory} MB (runtime.decoder_memory): the video "
            "is damaged, hostile or very large"
        )
        return self.lost(why, "memory", retry="slowly")

    def close(self) -> None:
        """End it; may be repeated."""
        self._wire.close()  # which it notices
        self._wait(_END_SECONDS)

    def _start(self, request: DecoderRequest, theirs: DecoderWire) -> None:
        kind, descriptor = request.spec.kind, theirs.fileno()
        # The location, with its password, is sent: others can see a command line.
        program = [sys.executable, "-P", "-m", "facestream.pipeline.sources.process.child"]
        self._process = subprocess.Popen(
            [*program, str(descriptor), str(os.getpid())],
            # The pipe is the source. Ctrl-C is its parent's to answer.
            stdin=None if kind == "stdin" else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(os.environ, network=kind == "url"),
            pass_fds=(descriptor,),
            start_new_session=True,
        )
        theirs.close()
        self._wire.settimeout(START_SECONDS)
        self._wire.send_object(request)
        self._wire.settimeout(_CHECK_EVERY)

    def _content(self) -> bytes | None:
        """What it says; None: nothing so far, empty: it has ended."""
        try:
            return self._wire.receive()
        except (TimeoutError, ConnectionResetError):
            # Reset: it ended with messages of ours unread; what it said before is still there.
            return None
        except OSError:
            return b""

    def _weigh(self, message: Message, now: float) -> None:
        """Many messages without a picture are no decoder's; they would keep this process busy."""
        if isinstance(message, FrameMessage | PictureMessage):
            self._chatter, self._pictured = 0, now
            return
        self._chatter += 1
        if self._chatter > _CHATTER * (1 + now - self._pictured):
            raise self.nonsense()

    def _log(self, message: LogMessage) -> None:
        """A decoder that was taken over must not fill the disk."""
        self._lines += message.level > logging.DEBUG
        if self._lines <= _LINES:
            log.log(message.level, "%s", message.text)

    def _parsed(self, content: bytes) -> Message:
        try:
            return parse(content)
        except ValueError as error:
            log.debug("%s: its decoder said %r: %s", self._name, content[:200], error)
            raise self.nonsense() from None

    def _crashed(self) -> DecoderLost:
        status = self._wait(1.0)
        if status is not None and status < 0:
            number = -status
            name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
            return self.lost(f"its decoder crashed ({name})", "crash")
        if self._patience != self._silence:
            why = "its decoder did not start; --isolation thread decodes without it"
            return self.lost(why, "start", retry="slowly")
        return self.lost(f"its decoder ended with status {status}", "crash")

    def _wait(self, seconds: float) -> int | None:
        """The status with which it ends; it is killed when it does not."""
        if self._process is None:
            return None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _environment(given: Mapping[str, str], *, network: bool) -> dict[str, str]:
    """What a decoder may know of ours."""
    own = {
        name: value
        for name, value in given.items()
        if name in _ENVIRONMENT
        or name.startswith(_DRIVERS)
        or (network and name.lower() in _PROXIES)
    }
    # No threads of linear algebra: nobody uses them, and no rule of the sandbox would bind them.
    return own | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
