"""From what the user typed to the sources it stands for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..core.errors import SourceError
from ..core.images import PICTURE_SUFFIXES
from ..core.redact import without_credentials
from .base import SourceSpec

# fmt: off
VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg",
        ".mpeg", ".m2v", ".vob", ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv",
        ".ogg", ".gif", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265", ".hevc",
        ".ivf", ".y4m", ".mxf", ".dv", ".nut"
    }
)
# fmt: on
IMAGE_SUFFIXES = PICTURE_SUFFIXES - VIDEO_SUFFIXES  # a GIF is read as a video

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_DIGITS = re.compile(r"(\d+)")


def expand_sources(specs: Sequence[str | Path]) -> list[SourceSpec]:
    """The sources that ``specs`` name, in order; what is named twice is read once.

    Each is one of

    - ``-``: a stream on standard input;
    - a camera: its number (``0``) or device (``/dev/video0``);
    - a URL: ``rtsp://…``, ``http://…``; ``file://…`` is a path;
    - a picture (by its suffix): a source of one still frame;
    - any other file: a video, whatever its suffix;
    - a folder: every video in it is a source, and all its pictures together are one source of
      still frames. Folders inside are searched too; hidden files and folders are left out, links
      to folders are not followed;
    - a pattern with ``*``, ``?``, ``[…]`` or ``**``: the files that match, as for a folder.

    Files are in natural order (``frame2`` before ``frame10``).

    Raises:
        SourceError: a path does not exist, or a folder or pattern has nothing that can be read.
    """
    found: dict[tuple[str, str, tuple[Path, ...]], SourceSpec] = {}
    for text in specs:
        for spec in _expand(str(text)):
            found.setdefault((spec.kind, spec.location, spec.files), spec)
    return list(found.values())


def natural_key(path: Path) -> tuple[tuple[int, str], ...]:
    """Sort key that puts ``frame2`` before ``frame10``."""
    parts = _DIGITS.split(str(path).casefold())
    # Every second part is a number, so that keys compare like with like.
    return tuple((int(p), "") if n % 2 else (0, p) for n, p in enumerate(parts))


def _expand(text: str) -> list[SourceSpec]:
    if not text:
        raise SourceError("a source is empty; give a file, a folder, a camera number or a URL")
    if text == "-":
        return [SourceSpec("stdin", "-", "stdin")]
    if text.isascii() and text.isdigit():
        return [SourceSpec("camera", f"/dev/video{int(text)}", f"camera {int(text)}")]
    if re.fullmatch(r"/dev/video\d+", text):
        return [SourceSpec("camera", text, text)]
    if text.lower().startswith("file://"):
        text = text[7:]
    elif _URL.match(text):
        return [SourceSpec("url", text, without_credentials(text))]
    return _expand_path(text)


def _expand_path(text: str) -> list[SourceSpec]:
    path = Path(text)
    try:
        if path.is_dir():
            return _folder(path)
        if path.exists():
            return _grouped([path], name=text, suffix_decides=False)
    except OSError as error:  # e.g. a name that is too long
        raise SourceError(f"cannot read {text}: {error.strerror}") from error
    if glob.has_magic(text):
        matches = [Path(match) for match in glob.glob(text, recursive=True)]  # noqa: PTH207 - absolute patterns
        specs = _grouped([m for m in matches if m.is_file()], name=text, suffix_decides=True)
        if not specs:
            raise SourceError(f"no video or picture matches {text}; quote patterns for the shell")
        return specs
    raise SourceError(f"there is no file or folder {text}; check the path")


def _folder(folder: Path) -> list[SourceSpec]:
    refused: list[OSError] = []
    specs = _grouped(_walk(folder, refused.append), name=str(folder), suffix_decides=True)
    if not specs:
        why = f" ({refused[0].strerror})" if refused else ""
        raise SourceError(f"folder {folder} holds no video or picture that can be read{why}")
    return specs


def _walk(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _grouped(
    files: Sequence[Path] | Iterator[Path], *, name: str, suffix_decides: bool
) -> list[SourceSpec]:
    """A source for each video, and one for all pictures together, after the videos."""
    ordered = sorted(files, key=natural_key)
    pictures = tuple(path for path in ordered if path.suffix.lower() in IMAGE_SUFFIXES)
    videos = [
        path
        for path in ordered
        if path.suffix.lower() in VIDEO_SUFFIXES
        or (not suffix_decides and path.suffix.lower() not in IMAGE_SUFFIXES)
    ]
    specs = [SourceSpec("video", str(path), str(path)) for path in videos]
    if pictures:
        specs.append(SourceSpec("images", name, name, pictures))
    return specs
