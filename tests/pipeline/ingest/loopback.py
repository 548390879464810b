"""A server on loopback that does with each connection what the test says, and a reader at work."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from facestream.engines.closing import Closing
from facestream.pipeline.core.config import LiveSettings
from facestream.pipeline.core.errors import Closed
from facestream.pipeline.core.events import SourceStateEvent
from facestream.pipeline.core.types import Frame, LazyFrame
from facestream.pipeline.ingest.decoders import SourceOpening
from facestream.pipeline.ingest.isolation import SourceIsolation
from facestream.pipeline.ingest.live_reader import LiveReader, WatchTimes
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.sources import (
    SourceOpener,
    SourceOptions,
    SourceSpec,
    expand_sources,
    open_source,
)
from facestream.pipeline.sources.base import DEFAULTS

QUICK = LiveSettings(
    open_timeout=3.0, read_timeout=1.5, stall_after=0.7, retry_first=0.05, retry_longest=0.2
)
STREAM = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"


class Connection:
    """One client, seen from the server."""

    def __init__(self, number: int, channel: socket.socket, closing: threading.Event) -> None:
        self.number = number
        self.channel = channel
        self.closing = closing

    def request(self) -> bytes:
        """The head of what the client asks for."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.channel.recv(4096)
            if not more:
                break
            head += more
        return head

    def send(self, content: bytes) -> None:
        """All of it; raises OSError when the client has gone."""
        self.channel.sendall(content)

    def stream(self, content: bytes, *, seconds: float) -> None:
        """The content evenly over so much time."""
        steps = max(1, round(seconds / 0.02))
        size = -(-len(content) // steps)
        for at in range(0, len(content), size):
            if self.closing.is_set():
                return
            self.send(content[at : at + size])
            time.sleep(seconds / steps)

    def hold(self) -> None:
        """Say nothing more, until the test ends or the client goes."""
        self.channel.settimeout(0.05)
        while not self.closing.is_set():
            with suppress(TimeoutError):
                if not self.channel.recv(4096):
                    return

    def reset(self) -> None:
        """Break the connection, as a pulled plug or a killed process does."""
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.channel.close()


class Server(Closing):
    """Serves each connection with ``serve`` in a thread."""

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        self.clients = 0
        self._serve = serve
        self._closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, path: str = "live.ts", *, scheme: str = "http") -> str:
        """With credentials, which must not be shown anywhere."""
        return f"{scheme}://bob:hush@127.0.0.1:{self.port}/{path}"

    def _accept(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                channel, _ = self._socket.accept()
                self.clients += 1
                connection = Connection(self.clients, channel, self._closing)
                thread = threading.Thread(target=self._one, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _one(self, connection: Connection) -> None:
        with connection.channel, suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        """End it, its connections too."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()


@dataclass
class Watched:
    """A `LiveReader` at work, its frames and its events."""

    reader: LiveReader
    metrics: Metrics
    thread: threading.Thread
    frames: list[Frame] = field(default_factory=list)
    events: list[SourceStateEvent] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        """The states so far."""
        return [event.state for event in self.events]

    def until(self, happened: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Wait for it."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, (self.states, len(self.frames), self.events[-1:])
            time.sleep(0.01)

    def until_state(self, state: str) -> None:
        """Wait until it is in this state."""
        self.until(lambda: self.reader.state.state == state)

    def stop(self) -> float:
        """Stop it; returns the seconds that took."""
        began = time.monotonic()
        self.reader.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return time.monotonic() - began


@contextmanager
def watching(
    source: str | SourceSpec,
    *,
    live: LiveSettings = QUICK,
    options: SourceOptions = DEFAULTS,
    schedule: WatchTimes | None = None,
    opener: SourceOpener = open_source,
) -> Iterator[Watched]:
    """Reads a source until the block ends; takes every frame as soon as it comes."""
    queue: SourceQueue[Frame | LazyFrame] = SourceQueue()
    metrics = Metrics()
    isolation = SourceIsolation(metrics, fatal=())
    events: list[SourceStateEvent] = []
    spec = source if isinstance(source, SourceSpec) else expand_sources([source])[0]
    reader = LiveReader(
        *(spec, queue, metrics),
        options=options,
        live=live,
        on_state=events.append,
        schedule=schedule,
        opener=opener,
        isolation=isolation,
        start_within=opener.start_within(spec) if isinstance(opener, SourceOpening) else 0.0,
    )
    isolation.watch([reader.state])
    watched = Watched(reader, metrics, threading.Thread(target=reader.run), events=events)
    taker = threading.Thread(target=_take, args=(queue, watched.frames))
    taker.start()
    watched.thread.start()
    try:
        yield watched
    finally:
        watched.stop()
        queue.close()
        taker.join()


def _take(queue: SourceQueue[Frame | LazyFrame], frames: list[Frame]) -> None:
    with suppress(Closed):
        while True:
            for item in queue.get_batch(8, 0.0):
                frame = item.to_frame() if isinstance(item, LazyFrame) else item
                if frame is not None:
                    frames.append(frame)


def reading_threads() -> list[str]:
    """The threads of sources that run now."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("facestream-live")]


def open_descriptors() -> int:
    """File descriptors of this process, without FFmpeg's and Python's own passing ones."""
    return len(list(Path("/proc/self/fd").iterdir()))
