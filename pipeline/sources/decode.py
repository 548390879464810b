"""Decoding with PyAV: packets to pictures, counting what is damaged.

Measured on two Zen 4 cores, h264 1080p (``street_crowd_1080p.mp4``): decoding takes 6.1 ms of CPU a
frame. Two frame threads give 255 frames a second in BGR, one gives 153.

Where only every N-th frame is delivered, the others are decoded too. Leaving out unreferenced ones
would save 6 % of a run with every fifth frame searched; but the N-th frame is counted among the
good ones in presentation order, and packets are in another order, some of them damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Literal, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..core.errors import SourceError, SourceTooLarge
from ..core.types import Image
from .allowed import CODECS
from .convert import Converter
from .damage import DamageGate
from .deinterlace import Deinterlacer
from .hardware import BY_CPU, DecodedBy, Decoding, FallbackReason, OnDecoder

log = logging.getLogger(__name__)

# A reader that fails this often without a packet in between does not recover.
READ_FAILURES = 50
# A live stream with so many refused packets in a row (three seconds at 25 fps) has changed its
# codec or program and must be opened again.
DECODE_FAILURES = 75
# Codecs whose decoders mark damaged frames themselves, more exactly than their packets are marked.
_MARKING = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})
_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails


class DecodedPicture:
    """A decoded frame, turned into BGR only on demand; a `Picture`."""

    __slots__ = ("_converter", "_frame", "time")

    def __init__(self, frame: VideoFrame, time: float | None, converter: Converter) -> None:
        self.time = time
        self._frame = frame
        self._converter = converter

    def image(self) -> Image | None:
        return self._converter.convert(self._frame)

    def sample(self) -> bytes:
        return self._converter.sample(self._frame)

    def decoded(self) -> tuple[VideoFrame, float]:
        """The frame, and width over height of a pixel."""
        return self._frame, self._converter.ratio


def reason(error: av.error.FFmpegError | ValueError) -> str:
    """The message without the location, which may hold credentials."""
    if not isinstance(error, av.error.FFmpegError):
        return str(error)
    text = str(error.strerror or type(error).__name__)
    return text[:1].lower() + text[1:]


def packets_of(
    container: InputContainer, *streams: Stream, damaged: Callable[[], None]
) -> Iterator[Packet[Stream]]:
    """The packets of these streams, or of all, that have content.

    Args:
        damaged: called for each place that cannot be read. After `READ_FAILURES` without a packet
            in between they end.
    """
    failures = 0
    while failures < READ_FAILURES:
        try:
            for packet in container.demux(*streams):
                if packet.dts is None and packet.size == 0:
                    continue  # the end of a stream
                failures = 0
                yield packet
            return
        except av.error.InvalidDataError as error:
            # The demuxer skips what it cannot read and finds its way in the next call.
            failures += 1
            damaged()
            log.debug("damaged container data: %s", reason(error))


def video_stream(container: InputContainer, name: str, track: int | None) -> VideoStream:
    """The stream to watch: that of a number, else the best one; cover pictures do not count.

    Raises:
        SourceError: there is none, or no decoder for it.
    """
    streams = [s for s in container.streams.video if not s.disposition & _PICTURES]
    if not streams:
        if len(container.streams.audio):
            raise SourceError(f"{name} has sound only, no video; give a file with pictures")
        raise SourceError(f"{name} holds no video that can be read; give a video file")
    if track is not None and track >= len(streams):
        count = "one video track" if len(streams) == 1 else f"{len(streams)} video tracks"
        raise SourceError(f"{name} has {count}, no track {track}; the first is track 0")
    best = container.streams.best("video")
    chosen = next((n for n, s in enumerate(streams) if s is best), 0) if track is None else track
    stream = streams[chosen]
    # HLS and DASH offer one video in several sizes.
    if track is None and len(streams) > 1 and container.format.name not in {"hls", "dash"}:
        log.warning(
            "%s has %d video tracks (%s); track %d is watched, choose with --track N or %s#N",
            *(name, len(streams), "; ".join(map(_described, streams)), chosen, name),
        )
    if stream.codec_context is None or stream.codec_context.name not in CODECS:
        raise SourceError(f"{name} uses a video codec that is not decoded here; convert it")
    return stream


def _described(stream: VideoStream) -> str:
    context = stream.codec_context
    size = "unknown codec" if context is None else f"{context.width}x{context.height}"
    title = stream.metadata.get("title")
    return size if title is None else f"{size} {title!r}"


def check_size(name: str, width: int, height: int, most: int | None) -> None:
    """Refuse pictures that are too large to decode beside other sources.

    Raises:
        SourceError: they have more pixels than that.
    """
    if most is not None and width * height > most:
        why = (
            f"its pictures have {width}x{height} pixels, more than "
            f"limits.most_megapixels = {most / 1e6:g}; set a smaller stream in the camera, "
            "or raise the limit"
        )
        raise SourceError(f"cannot read {name}: {why}", retry="slowly", reason=why)


def fps_of(stream: VideoStream) -> float | None:
    """Average frames a second, None where the container does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


class VideoDecoder:
    """Turns a container's packets into pictures; for one thread.

    Args:
        container: opened; the caller closes it.
        threads: decoding threads, 0 for as many as there are cores.
        latency: ``low`` decodes slices in parallel instead of whole frames: no frame of delay.
        timeless: ignore its times; the pictures have none.
        stopped: true when reading ends; called at every packet.
        on_decoder: see `SourceOptions`.
        shrink_above: see `SourceOptions`.
        refuse_above: see `SourceOptions`.

    Raises:
        SourceError: its pictures are too large.

    Attributes:
        corrupt: damaged packets and frames.
        stuck: the decoder (of a live source, or hardware) refused too many packets in a row.
        end: end of the packets of any stream so far, in seconds on the container's clock.
        decoded_by: what decodes now; None before the first frame.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        threads: int,
        latency: Literal["normal", "low"] = "normal",
        timeless: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        decoding: Decoding = BY_CPU,
        name: str = "the video",
        on_decoder: OnDecoder | None = None,
        shrink_above: int | None = None,
        refuse_above: int | None = None,
    ) -> None:
        self.corrupt = 0
        self.stuck = False
        self.end = 0.0
        self.decoded_by: DecodedBy | None = None
        self._refused = 0
        self._container = container
        self._stream = stream
        self._timeless = timeless
        self._stopped = stopped
        self._low = latency == "low"
        self._decoding = decoding
        self._name = name
        self._on_decoder = on_decoder or (lambda *_: None)
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        ratio = float(stream.sample_aspect_ratio or 1)
        self._converter = Converter(ratio, most_pixels=shrink_above)
        self._gate = DamageGate(self._time_base)
        # Cameras mark interlaced frames.
        self._deinterlacer = Deinterlacer(self._time_base, search=not self._low)
        context = stream.codec_context
        check_size(name, context.width, context.height, refuse_above)
        if refuse_above is not None:
            # The decoder refuses frames that grow later.
            context.options = {**context.options, "max_pixels": str(refuse_above)}
        # Hardware needs no frame threads; slices help the CPU where it takes over.
        whole = latency == "normal" and not stream.codec_context.is_hwaccel
        stream.thread_type = "AUTO" if whole else "SLICE"
        stream.codec_context.thread_count = threads

    @property
    def left_out(self) -> int:
        """Frames that were left out because they are predicted from damaged ones."""
        return self._gate.left_out

    def pictures(self) -> Iterator[DecodedPicture]:
        """Every frame that decodes, in presentation order.

        Raises:
            av.error.FFmpegError: reading broke off (time-out, lost connection); what the decoder
                still held was delivered before.
            SourceError: the hardware does not decode it, and the CPU may not.
        """
        broken: av.error.FFmpegError | None = None
        try:
            for packet in self._packets():
                yield from self._pictures(self._decode(packet))
                limited = self._low or self.decoded_by not in {None, "cpu"}
                if limited and self._refused >= DECODE_FAILURES:
                    self.stuck = True
                    return
        except av.error.FFmpegError as error:
            broken = error
        # What a lost camera's decoder still held is older than the time-out: no sign of life.
        if not self._stopped() and (broken is None or not self._low):
            yield from self._pictures(self._decode(None))
            yield from map(self._picture, self._deinterlacer.flush())
        if broken is not None:
            raise broken

    def _packets(self) -> Iterator[Packet[Stream]]:
        # All streams are read: sound tells how far the file goes.
        for packet in packets_of(self._container, damaged=self._damaged):
            if self._stopped():
                return
            if packet.pts is not None and packet.time_base is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self.end = max(self.end, end)
            if packet.stream.index == self._stream.index:
                yield packet

    def _damaged(self) -> None:
        self.corrupt += 1

    def _decode(self, packet: Packet[Stream] | None) -> list[VideoFrame]:
        """The frames that this packet completes; None flushes the decoder."""
        if packet is not None and packet.is_corrupt:
            self.corrupt += 1  # decoded all the same: what follows may need it
            if self._stream.codec_context.name not in _MARKING:
                self._gate.damaged_packet(cast("Packet[VideoStream]", packet))
        if packet is not None and self._stream.codec_context.name == "h264":
            self._gate.look_for_sweep(cast("Packet[VideoStream]", packet))
        try:
            return self._stream.codec_context.decode(cast("Packet[VideoStream] | None", packet))
        except av.error.EOFError:
            return []
        except av.error.MemoryError as error:  # no damage: its other frames need as much
            why = "decoding needs more memory than there is"
            raise SourceTooLarge(f"{self._name}: {why}", retry="slowly", reason=why) from error
        except av.error.FFmpegError as error:
            self.corrupt += 1
            self._refused += 1
            if packet is not None:
                self._gate.damaged_packet(cast("Packet[VideoStream]", packet))
            log.debug("packet skipped: %s", reason(error))
            return []

    def _pictures(self, frames: Sequence[VideoFrame]) -> Iterator[DecodedPicture]:
        if frames:
            self._check_decoder()
        yield from map(self._picture, self._deinterlacer.filter(self._whole(frames)))

    def _whole(self, frames: Sequence[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            self._refused = 0
            whole = self._gate.passes(frame)
            if frame.is_corrupt:
                self.corrupt += 1
            elif whole:
                yield frame

    def _picture(self, frame: VideoFrame) -> DecodedPicture:
        # Frame.time is not a number when the decoder is fed directly.
        known = frame.pts is not None and not self._timeless
        time = float((frame.pts or 0) * self._time_base) if known else None
        return DecodedPicture(frame, time, self._converter)

    def _check_decoder(self) -> None:
        """Notice when the CPU takes over from hardware; raises when it may not."""
        context, wanted = self._stream.codec_context, self._decoding.decoder
        by_hardware = context.is_hwaccel and context.pix_fmt == wanted
        now: DecodedBy = wanted if by_hardware else "cpu"
        if now == self.decoded_by:
            return
        fallback: FallbackReason | None = None
        if now != wanted:
            fallback = "unsupported" if self.decoded_by is None else "failed"
            if self._decoding.required:
                why = f"decoding by {wanted} failed: it does not take this {context.name} video"
                why += "; use --decode cpu"
                raise SourceError(f"{self._name}: {why}", retry="slowly", reason=why)
            log.warning("%s: the CPU decodes, not %s (%s)", self._name, wanted, context.name)
        self.decoded_by = now
        self._on_decoder(self._name, now, fallback)
