"""Messages between the two processes, each whole: JSON from the decoder, pickles and JSON to it."""

from __future__ import annotations

import array
import json
import pickle
import socket
from collections.abc import Sequence
from typing import Any

LONGEST = 1 << 16
"""Bytes of a message; a longer one is cut off, and so is no JSON."""
_CHUNK = 1 << 15


class DecoderWire:
    """One end of a ``SOCK_SEQPACKET`` socket; any thread may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[DecoderWire, DecoderWire]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        return self._socket.fileno()

    def settimeout(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._socket.close()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Raises OSError when the other end is gone, or takes nothing within the time-out."""
        content = json.dumps(message).encode()
        if not descriptors:
            self._socket.send(content)
        else:
            socket.send_fds(self._socket, [content], list(descriptors))

    def send_if_room(self, message: Any) -> None:
        """Never waits; raises OSError (BlockingIOError where it is full)."""
        self._socket.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)

    def receive(self) -> bytes:
        """A message; empty when the other end is gone. Raises TimeoutError."""
        return self._socket.recv(LONGEST)

    def receive_with_descriptors(self) -> tuple[Any, list[int]]:
        """For the decoder.

        Raises:
            EOFError: the other end is gone.
        """
        content, ancillary, _, _ = self._socket.recvmsg(LONGEST, socket.CMSG_SPACE(4))
        if not content:
            raise EOFError
        found = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found.frombytes(data[: len(data) - len(data) % found.itemsize])
        return json.loads(content), list(found)

    def send_object(self, thing: Any) -> None:
        """Anything, of any size; only ever towards the decoder, which trusts its parent."""
        content = pickle.dumps(thing)
        self.send(len(content))
        for at in range(0, len(content), _CHUNK):
            self._socket.send(content[at : at + _CHUNK])

    def receive_object(self) -> Any:
        """What `send_object` sent; for the decoder.

        Raises:
            EOFError: the other end is gone.
        """
        length, content = int(json.loads(self.receive() or b"0")), b""
        while len(content) < length:
            more = self.receive()
            if not more:
                break
            content += more
        if not content:
            raise EOFError
        return pickle.loads(content)
