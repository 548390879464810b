"""A TCP proxy that does to a stream what networks and cameras do."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

from facestream.engines.closing import Closing

from .flips import Flipper

T = TypeVar("T")
Mode = Literal[
    "pass",
    "refuse",  # nobody listens, and whoever was connected is cut off
    "silent",  # connections are taken, nothing ever comes
    "hole",  # connections stay, what they carry is thrown away
]
_CHUNK = 16384


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens on the way.

    Attributes:
        mode: what becomes of connections.
        flips: bits that are flipped in what the server sends, per byte, 0..1.
        where: ``payload`` spares RTSP's messages and the headers of its packets, ``blind`` nothing.
        delay: seconds that each chunk of the server waits.
        rate: bytes a second that the server may send; None does not limit it.
    """

    mode: Mode = "pass"
    flips: float = 0.0
    where: Literal["payload", "blind"] = "payload"
    delay: float = 0.0
    rate: float | None = None


NONE = Faults()


class FaultProxy(Closing):
    """Forwards 127.0.0.1:``port`` to 127.0.0.1:``target``, faults included.

    It runs in a thread of its own. Faults count at once, for open connections too.

    Args:
        target: port of the server.
        seed: of the bits that are flipped.
    """

    def __init__(self, target: int, *, seed: int = 1) -> None:
        self.target = target
        self.port = 0
        self.faults = NONE
        self.connections = 0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._cutting: set[asyncio.StreamWriter] = set()

    def set(self, faults: Faults = NONE) -> None:
        """From now on these faults; none without an argument."""
        before, self.faults = self.faults, faults
        if faults.mode == "refuse":
            self._call(self._stop_listening())
            self._call(self._abort_all())
        elif before.mode == "refuse":
            self._call(self._listen())
        elif before.mode in {"silent", "hole"} and faults.mode == "pass":
            # Half a conversation is lost: neither side could go on.
            self._call(self._abort_all())

    def cut(self) -> None:
        """Cut every connection in the middle of what the server sends next."""
        self._cutting |= set(self._open)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def close(self) -> None:
        """End it, its connections too."""
        self._call(self._stop_listening())
        self._call(self._abort_all())
        self._call(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _abort_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        self._cutting.clear()

    async def _finish(self) -> None:
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(client)
        if self.faults.mode == "silent":
            await self._swallow(reader)
        else:
            await self._forward(reader, client)
        client.transport.abort()
        self._open.discard(client)

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(_CHUNK):
                pass
        except OSError:
            pass

    async def _forward(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        self._open.add(server)
        up = asyncio.ensure_future(self._pump_up(reader, server))
        down = asyncio.ensure_future(self._pump_down(answers, client))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        server.transport.abort()
        self._open.discard(server)

    async def _pump_up(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self.faults.mode == "pass":
                server.write(data)
                await server.drain()

    async def _pump_down(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        flipper = Flipper(self._random)
        while data := await answers.read(_CHUNK):
            faults = self.faults
            if faults.delay:
                await asyncio.sleep(faults.delay)
            if faults.rate is not None:
                await asyncio.sleep(len(data) / faults.rate)
            data = flipper(data, faults.flips, faults.where)
            if client in self._cutting:
                self._cutting.discard(client)
                client.write(data[: len(data) // 2])
                # Let the half arrive: an abort throws away what was not sent yet.
                await asyncio.sleep(0.01)
                return
            if faults.mode == "pass":
                client.write(data)
                await client.drain()
