"""Flips bits in an RTSP conversation."""

from __future__ import annotations

import random
from typing import Literal

_RTP_HEADER = 12
_MAGIC = 0x24  # "$" begins an interleaved packet: channel, length (2 bytes), then RTP or RTCP


class Flipper:
    """Flips bits of one connection; knows where the payload is.

    Args:
        rng: says which.
    """

    def __init__(self, rng: random.Random) -> None:
        self._random = rng
        self._rest = b""  # the beginning of a packet's header
        self._header = 0  # bytes of the packet that must stay whole
        self._payload = 0  # bytes of the packet after those

    def __call__(self, data: bytes, rate: float, where: Literal["payload", "blind"]) -> bytes:
        """The data, with flips in a share ``rate`` of the bytes of the payload or of all."""
        spans = self._spans(data)
        if rate <= 0:
            return data
        if where == "blind":
            spans = [(0, len(data))]
        changed = bytearray(data)
        for start, stop in spans:
            for at in self._places(start, stop, rate):
                changed[at] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _places(self, start: int, stop: int, rate: float) -> list[int]:
        places, at = [], start + int(self._random.expovariate(rate))
        while at < stop:
            places.append(at)
            at += 1 + int(self._random.expovariate(rate))
        return places

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where RTP payload lies in the next data of the connection."""
        spans = []
        at = 0
        while at < len(data):
            if self._header:
                step = min(self._header, len(data) - at)
                self._header -= step
            elif self._payload:
                step = min(self._payload, len(data) - at)
                self._payload -= step
                spans.append((at, at + step))
            else:
                step = self._begin(data, at)
            at += step
        return spans

    def _begin(self, data: bytes, at: int) -> int:
        """Read on in a packet's header, or in a message of RTSP; returns the bytes taken."""
        if not self._rest:
            start = data.find(_MAGIC, at)
            if start != at:
                return (len(data) if start < 0 else start) - at
        needed = 4 - len(self._rest)
        self._rest += data[at : at + needed]
        if len(self._rest) == 4:
            length = int.from_bytes(self._rest[2:], "big")
            media = self._rest[1] % 2 == 0
            self._header = min(_RTP_HEADER, length) if media else length
            self._payload = length - self._header
            self._rest = b""
        return min(needed, len(data) - at)
