"""Packets to frames: by the CPU, or by hardware that the CPU takes over from when it fails."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import cast

import av
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..core.errors import Retry, SourceError
from .hardware import (
    BY_CPU,
    DecodedBy,
    Decodes,
    Decoding,
    FallbackReason,
    OnDecoder,
)

log = logging.getLogger(__name__)

# Hardware that takes so many packets in a row and gives no frame has failed: no codec here delays
# a frame by more than 16.
SILENT_PACKETS = 40
# Packets that are held for the CPU, in bytes; a group of pictures of 4K has about 10 MB.
MOST_HELD = 64 << 20


class Codec:
    """The decoder of a stream, on the CPU or on a device; for one thread.

    The first picture is always decoded by the CPU: that tells its pixel format, which the
    hardware must have proved, and what only the container knows (rotation, reordering). The
    hardware then begins at the same key frame. The packets since the last key frame are held, so
    that when the hardware fails the CPU decodes them again and no frame is lost.

    Args:
        stream: its own decoder is the CPU's; threads are set.
        decoding: who is to decode.
        name: of the source.
        tell: gets the name, who decodes, and why the CPU took over, when it is decided and at each
            change.

    Attributes:
        decoder: who decodes now.
        fallbacks: why the CPU took over, each time.
        rotation: of the stream in degrees, as `VideoFrame.rotation`; the hardware's frames lack it.
    """

    def __init__(
        self,
        stream: VideoStream,
        *,
        decoding: Decoding = BY_CPU,
        name: str = "the video",
        tell: OnDecoder | None = None,
    ) -> None:
        self.decoder: DecodedBy = "cpu"
        self.fallbacks: list[FallbackReason] = []
        self.rotation = 0
        self._name = name
        self._tell = tell or _nobody
        self._decoding = decoding
        self._cpu = stream.codec_context
        self._device: Decodes | None = None
        self._undecided = decoding.decoder != "cpu"
        self._held: deque[list[Packet[VideoStream]]] = deque()
        self._bytes = 0
        self._last: int | None = None
        self._silent = 0
        self._delivered = 0
        if not self._undecided:
            self._tell(name, "cpu", None)

    def decode(self, packet: Packet[Stream] | None) -> list[VideoFrame]:
        """The frames that a packet completes; None: those that are still held.

        Raises:
            av.error.FFmpegError: the packet cannot be decoded.
            SourceError: the hardware cannot decode this, and the CPU may not.
        """
        video = cast("Packet[VideoStream] | None", packet)
        if self._device is not None:
            return self._by_device(self._device, video)
        if self._undecided and video is not None and video.is_keyframe:
            return self._begin(video)
        return self._cpu.decode(video)

    def _begin(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """At a key frame: hand over to the hardware, or decide against it."""
        depth = self._cpu.reorder_depth
        frames = [*self._cpu.decode(packet), *self._cpu.decode(None)]
        self._cpu.flush_buffers()
        self._cpu.reorder_depth = max(depth, self._cpu.reorder_depth)
        if not frames:
            return self._cpu.decode(packet)  # half a picture: the next key frame will tell
        self._undecided = False
        *earlier, first = frames
        self.rotation = first.rotation
        refusal = self._decoding.refusal(self._cpu.name, first.format.name)
        if refusal is not None:
            return earlier + self._fall_back("unsupported", refusal, [packet])
        try:
            self._device = self._decoding.context(self._cpu)
        except (av.error.FFmpegError, RuntimeError, NotImplementedError) as error:
            return earlier + self._fall_back("failed", _told(error), [packet])
        self.decoder = self._decoding.decoder
        self._tell(self._name, self.decoder, None)
        return earlier + self._by_device(self._device, packet)

    def _by_device(self, device: Decodes, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        if packet is not None:
            self._hold(packet)
        try:
            frames = device.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self._silent += 1
            damaged = isinstance(error, av.error.InvalidDataError)
            # The CPU did decode the first picture: it is not the data that is wrong there.
            if damaged and self._delivered and self._silent < SILENT_PACKETS:
                raise
            why: FallbackReason = "failed" if self._delivered else "unsupported"
            return self._fall_back(why, _told(error), self._again(), ends=packet is None)
        self._silent = 0 if frames else self._silent + 1
        if self._silent >= SILENT_PACKETS:
            return self._fall_back("failed", "it gives no frames", self._again())
        self._delivered += len(frames)
        self._release(frames)
        return frames

    def _hold(self, packet: Packet[VideoStream]) -> None:
        if packet.is_keyframe or not self._held:
            self._held.append([])
        self._held[-1].append(packet)
        self._bytes += packet.size
        if self._bytes > MOST_HELD:
            # Too long a group: after a failure the CPU waits for the next key frame.
            self._held.clear()
            self._bytes = 0

    def _release(self, frames: list[VideoFrame]) -> None:
        """Let go of a group once a frame of the next one has come out: it is complete then."""
        for frame in frames:
            self._last = frame.pts
        while len(self._held) > 1:
            begins = self._held[1][0].pts
            if begins is not None and (self._last is None or self._last < begins):
                return
            self._bytes -= sum(packet.size for packet in self._held.popleft())

    def _again(self) -> list[Packet[VideoStream]]:
        return [packet for group in self._held for packet in group]

    def _fall_back(
        self,
        kind: FallbackReason,
        why: str,
        packets: list[Packet[VideoStream]],
        *,
        ends: bool = False,
    ) -> list[VideoFrame]:
        """From here on the CPU; what of these packets was not delivered yet."""
        hardware = self._decoding.decoder
        self._device, self.decoder = None, "cpu"
        self._held.clear()
        if self._decoding.required:
            told = f"decoding by {hardware} failed: {why}; use --decode cpu"
            retry: Retry = "slowly" if kind == "unsupported" else "soon"
            raise SourceError(f"{self._name}: {told}", retry=retry, reason=told)
        self.fallbacks.append(kind)
        self._tell(self._name, "cpu", kind)
        log.warning("%s: the CPU decodes, not %s: %s", self._name, hardware, why)
        frames = [frame for packet in packets for frame in _leniently(self._cpu.decode, packet)]
        if ends:
            frames += _leniently(self._cpu.decode, None)
        return [frame for frame in frames if self._is_new(frame)]

    def _is_new(self, frame: VideoFrame) -> bool:
        """Not delivered by the hardware already; without times nobody can tell."""
        if not self._delivered:
            return True
        return frame.pts is not None and self._last is not None and frame.pts > self._last


def _nobody(name: str, decoder: DecodedBy, fallback: FallbackReason | None) -> None:
    pass


def _leniently(
    decode: Callable[[Packet[VideoStream] | None], list[VideoFrame]],
    packet: Packet[VideoStream] | None,
) -> list[VideoFrame]:
    """What is damaged was counted when the hardware had it."""
    try:
        return decode(packet)
    except av.error.FFmpegError:
        return []


def _told(error: Exception) -> str:
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    text = str(text or type(error).__name__)
    return text[:1].lower() + text[1:]
