"""The second reading of a video: covers faces, encodes the pictures, and copies the rest.

Quality: the constant rate factors below look like the source at usual bit rates; what is not
covered differs by the encoder's loss only (``python -m benchmarks redact`` measures it). There are
no B frames: every frame keeps its time in all containers without a delay.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import unpack
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from facestream.engines.private_files import followed, private

from ..core.errors import OutputError
from ..core.filenames import part_of
from ..runtime.priority import scheduling_kept
from ..sinks.video.mp4 import WholeFile
from ..sources.decode import reason
from .covers import cover_frame, planar
from .options import RedactionOptions
from .plan import Plan
from .reading import VideoReader, on_frame

log = logging.getLogger(__name__)

_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoder of FFmpeg.

    Attributes:
        name: of the encoder.
        crf: usual quality.
        options: others.
    """

    name: str
    crf: int
    options: dict[str, str] = field(default_factory=dict)


_X264 = Encoding("libx264", 17, {"preset": "veryfast", "bf": "0"})
ENCODINGS = {
    "h264": _X264,
    "hevc": Encoding("libx265", 19, {"preset": "veryfast", "x265-params": "bframes=0:log-level=1"}),
    "vp9": Encoding(
        "libvpx-vp9", 22, {"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"}
    ),
    "vp8": Encoding("libvpx", 8, {"deadline": "good", "cpu-used": "4", "b": "20000000"}),
    "av1": Encoding("libsvtav1", 24, {"preset": "9"}),
}


@dataclass(slots=True)
class Recoded:
    """What was written.

    Attributes:
        frames: of the video.
        codec: its old and its new one.
        notes: on what could not be kept, a line each.
    """

    frames: int
    codec: tuple[str, str]
    notes: list[str]


@contextmanager
def written(out: Path) -> Iterator[Path]:
    """The name of a file that becomes ``out`` at the end, or is removed after an error."""
    place = Path(followed(out))  # a link of the user stays one
    part = part_of(place)
    try:
        yield part
        part.replace(place)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def recode(path: Path, part: Path, out: Path, plan: Plan, options: RedactionOptions) -> Recoded:
    """Write a video anew with its faces covered.

    Args:
        path: the video.
        part: where it is written; the caller renames or removes it.
        out: its name, for the container and messages.
        plan: the covers.

    Raises:
        OutputError: it cannot be written: no room, or a container that cannot hold it.
        RedactionCancelled: see `RedactionOptions`.
    """
    try:
        with VideoReader(path) as reader, closing(WholeFile(part, "w", opener=private)) as raw:
            with _open_output(raw, out, reader) as container:
                writer = _Writer(reader, container, plan, options)
                writer.run()
            return writer.done
    except av.error.FFmpegError as error:
        raise OutputError(f"cannot write {out}: {_why(error)}") from error
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error


def _why(error: av.error.FFmpegError) -> str:
    cause: BaseException = error
    while isinstance(cause.__context__, OSError):
        cause = cause.__context__
    return getattr(cause, "strerror", None) or reason(error)


def _open_output(raw: Any, out: Path, reader: VideoReader) -> OutputContainer:
    suffix = out.suffix.lower()
    options = {}
    if suffix in (".mp4", ".m4v", ".mov"):
        scale = reader.time_base.denominator
        options = {"movflags": "+faststart", "video_track_timescale": str(scale)}
    kind = _FORMATS.get(suffix)
    if kind is None:
        raise OutputError(
            f"cannot write {out}: give a name that ends in {', '.join(sorted(_FORMATS))}"
        )
    return av.open(raw, "w", format=kind, options=options)


_FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".avi": "avi",
}


class _Writer:
    """Encodes the video and copies the other streams."""

    def __init__(
        self, reader: VideoReader, container: OutputContainer, plan: Plan, options: RedactionOptions
    ) -> None:
        self._reader = reader
        self._container = container
        self._plan = plan
        self._options = options
        self._reformatter = VideoReformatter()
        codec = reader.stream.codec_context.name
        self._encoding = self._choose(codec)
        new = next((name for name, one in ENCODINGS.items() if one is self._encoding), "h264")
        self.done = Recoded(0, (codec, new), [])
        if new != codec and codec not in _ALIASES.get(new, ()):
            self.done.notes.append(f"the video is {new} now: there is no encoder of {codec} here")
        self._copies: dict[int, Stream] = {}
        self._video: Any = None

    def _choose(self, codec: str) -> Encoding:
        family = next((name for name, also in _ALIASES.items() if codec in also), codec)
        wanted = ENCODINGS.get(family)
        held = self._container.supported_codecs
        if self._container.format.name == "mpegts":  # its list lacks them
            held |= {"h264", "hevc"}
        for one in (wanted, _X264, ENCODINGS["vp9"]):
            name = next((name for name, each in ENCODINGS.items() if each is one), None)
            if one is not None and name in held:
                return one
        raise OutputError(f"a {self._container.format.name} file cannot hold this video; use .mkv")

    def run(self) -> None:
        """Read, cover and write everything."""
        held: list[Packet[Stream]] = []
        for packet in self._reader.packets():
            if packet.stream.index == self._reader.stream.index:
                for frame in self._reader.decode(packet):
                    self._write(frame, held)
            elif self._video is None:
                held.append(packet)  # streams can be copied once the first picture is known
            else:
                self._copy(packet)
        for frame in self._reader.decode(None):
            self._write(frame, held)
        if self.done.frames != len(self._plan.times):
            raise self._changed()
        self._container.mux(self._video.encode(None))

    def _write(self, frame: VideoFrame, held: list[Packet[Stream]]) -> None:
        number, times = self.done.frames, self._plan.times
        if number >= len(times) or times[number] != self._reader.seconds(frame):
            raise self._changed()
        if self._video is None:
            self._begin(frame)
            for packet in held:
                self._copy(packet)
            held.clear()
        covers = on_frame(self._plan.covers(number), frame, self._reader.converter.ratio)
        width, height = self._video.width, self._video.height
        if (frame.format.name, frame.width, frame.height) != (self._video.pix_fmt, width, height):
            covers = covers * np.tile([width / frame.width, height / frame.height], 2)
            frame = self._fitted(frame)
        cover_frame(frame, covers, self._options.style)
        frame.pict_type = 0  # the encoder chooses key frames
        self._container.mux(self._video.encode(frame))
        self.done.frames += 1
        if number % 8 == 0:
            self._options.advance("cover", number, len(self._plan.times))

    def _changed(self) -> OutputError:
        return OutputError(f"{self._reader.name} changed while it was redacted; begin again")

    def _fitted(self, frame: VideoFrame) -> VideoFrame:
        pts, base = frame.pts, frame.time_base
        new = self._reformatter.reformat(
            frame, width=self._video.width, height=self._video.height, format=self._video.pix_fmt
        )
        new.pts, new.time_base = pts, base
        return new

    def _begin(self, frame: VideoFrame) -> None:
        """Describe the streams as the source does."""
        source, reader = self._reader.stream, self._reader
        stream: Any = self._container.add_stream(
            self._encoding.name, rate=source.average_rate or 25
        )
        self._video = stream
        context = stream.codec_context
        stream.width, stream.height = frame.width, frame.height
        stream.pix_fmt = self._pixel_format(frame)
        context.time_base = reader.time_base
        stream.time_base = reader.time_base
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        crf = self._encoding.crf if self._options.quality is None else self._options.quality
        stream.options = {"crf": str(crf), **self._encoding.options}
        if frame.interlaced_frame and self._encoding is _X264:
            stream.options |= {"flags": "+ildct+ilme"}
        try:
            matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
        except ValueError:
            matrix = None
        if matrix is not None:
            stream.set_display_matrix(unpack("=9i", bytes(matrix)[:36]))
        self._add_others()
        with scheduling_kept():
            self._container.start_encoding()  # opens the encoder and starts its threads

    def _pixel_format(self, frame: VideoFrame) -> str:
        """The frame's own where it can be encoded, else the nearest."""
        formats = [
            one.name
            for one in av.Codec(self._encoding.name, "w").video_formats or []
            if planar(one)
        ]
        if frame.format.name in formats:
            return frame.format.name
        best, _ = av.codec.codec.find_best_pix_fmt_of_list(formats, frame.format.name)
        name = "yuv420p" if best is None else best.name
        self.done.notes.append(f"pixels are {name} now, not {frame.format.name}")
        return name

    def _add_others(self) -> None:
        """Sound and subtitles; what may show a face or a place is left out."""
        notes = self.done.notes
        for stream in self._reader.container.streams:
            if stream.index == self._reader.stream.index:
                continue
            if stream.type not in ("audio", "subtitle"):
                what = "a cover picture" if stream.disposition & _PICTURES else f"{stream.type}"
                notes.append(f"stream {stream.index} is left out ({what})")
                continue
            if stream.type == "audio" and not self._options.audio:
                notes.append(f"stream {stream.index} is left out (sound)")
                continue
            try:
                copy = self._container.add_stream_from_template(stream)
            except (ValueError, av.error.FFmpegError) as error:
                raise OutputError(
                    f"a {self._container.format.name} file cannot hold the {stream.type} of stream "
                    f"{stream.index}; give a name with the suffix of the video, or .mkv"
                ) from error
            language = stream.metadata.get("language")
            copy.metadata.clear()
            if language:
                copy.metadata["language"] = language
            self._copies[stream.index] = copy

    def _copy(self, packet: Packet[Stream]) -> None:
        copy = self._copies.get(packet.stream.index)
        if copy is not None and packet.dts is not None:
            packet.stream = copy
            self._container.mux(packet)


# FFmpeg's names of decoders, by the codec.
_ALIASES = {"av1": ("libdav1d", "libaom-av1"), "vp9": ("libvpx-vp9",), "vp8": ("libvpx",)}
