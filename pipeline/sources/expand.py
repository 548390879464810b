"""Expands the user's arguments into sources, each once and under its own name."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..core.errors import SourceError
from ..core.filenames import readable
from ..core.folders import PassedOver, files_below
from ..core.picture_kinds import PICTURE_SUFFIXES, content_kind
from ..core.redact import NO_URL, file_label, label, shown_source, with_quoted_credentials
from .base import SourceSpec
from .reach import PORTS
from .registry import find_opener

log = logging.getLogger(__name__)

# fmt: off
VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg",
        ".mpeg", ".m2v", ".vob", ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv",
        ".ogg", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265", ".hevc",
        ".ivf", ".y4m", ".mxf", ".dv", ".nut"
    }
)
# fmt: on
_KNOWN_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_TRACK = re.compile(r"(.+)#(\d{1,3})", re.DOTALL)
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_DIGITS = re.compile(r"(\d+)")


def expand_sources(specs: Sequence[str | Path]) -> list[SourceSpec]:
    """The sources that ``specs`` name, in order, without repetitions: see ``distinct_sources``.

    Each is one of

    - ``-``: a stream on standard input;
    - a camera: its number (``0``) or device (``/dev/video0``);
    - a URL: ``rtsp://…``, ``http://…``, or one of a registered source (``facestream.sources``);
      ``file://…`` is a path;
    - a picture (by its content, whatever its suffix): a source of one still frame;
    - any other file: a video, whatever its suffix; ``FILE#1`` is its second video track;
    - a folder: every video in it is a source, and all its pictures together are one source of
      still frames. Folders inside are searched too; hidden files and folders and those of a
      system (see ``core.folders``) are left out, links to folders are not followed;
    - a pattern with ``*``, ``?``, ``[…]`` or ``**``: the files that match, as for a folder.

    Files are in natural order (``frame2`` before ``frame10``).

    Raises:
        SourceError: a path does not exist, or a folder or pattern has nothing that can be read.
    """
    return distinct_sources(spec for text in specs for spec in _expand(str(text)))


def distinct_sources(
    specs: Iterable[SourceSpec], *, reserved: Collection[str] = ()
) -> list[SourceSpec]:
    """Each source once, each under a name of its own.

    The name identifies a source within a run, also to readers of events, metrics and files. A
    second source of the same name (two URLs that differ in a secret) is called ``NAME (2)``.

    Two paths are the same source when they lead to the same file, two URLs when they differ in
    notation only. A set of pictures leaves out those of an earlier one. Cameras of the settings at
    one location are different sources; a bare location beside one is a repetition.

    Args:
        specs: of ``expand_sources`` or of the caller's own, in order.
        reserved: names that only sources with a name of their own may have.
    """
    specs = list(specs)
    _real_folder.cache_clear()
    claimed = {_identity(spec) for spec in specs if _is_named(spec)}
    seen: set[tuple[str, str]] = set()  # own name (or none) and identity
    names: set[str] = set()
    found = []
    for spec in specs:
        if spec.files:
            files: dict[tuple[str, str], Path] = {}
            for path in spec.files:
                files.setdefault(("", _real_path(path)), path)
            new = tuple(path for key, path in files.items() if key not in seen)
            seen.update(files)
            rest, repeated = replace(spec, files=new), len(new) < len(spec.files)
        else:
            rest, identity = spec, _identity(spec)
            key = (spec.name if _is_named(spec) else "", identity)
            repeated = key in seen or (not key[0] and identity in claimed)
            seen.add(key)
        if repeated:
            log.info("%s is given more than once; it is read once", spec.name)
            if not rest.files:
                continue
        name, number = spec.name, 1
        while name in names or (name in reserved and not _is_named(spec)):
            number += 1
            name = f"{spec.name} ({number})"
        names.add(name)
        found.append(rest if name == rest.name else replace(rest, name=name))
    return found


def _is_named(spec: SourceSpec) -> bool:
    """It has another name than its location gives it."""
    if spec.kind == "url":
        return spec.name not in {f(spec.location) for f in (label, file_label, _name)}
    if spec.kind == "stdin":
        return spec.name != "stdin"
    own = spec.location if spec.track is None else f"{spec.location}#{spec.track}"
    return spec.name not in {readable(own), _camera_name(spec.location)}


def _camera_name(device: str) -> str:
    return f"camera {device.removeprefix('/dev/video')}"


def _identity(spec: SourceSpec) -> str:
    """Equal for two specs of the same file, device or stream."""
    if spec.kind in {"video", "camera", "images"}:
        track = "" if spec.track is None else f"#{spec.track}"
        return _real_path(Path(spec.location)) + track
    try:
        url = urlsplit(with_quoted_credentials(spec.location))
        port = url.port or PORTS.get(url.scheme.lower())
    except ValueError:
        return spec.location
    login = unquote(url.netloc.rpartition("@")[0])
    return f"{url.scheme.lower()}://{login}@{url.hostname}:{port}{url.path}?{url.query}"


def _real_path(path: Path) -> str:
    """Without links; cheap for many files of one folder."""
    real = f"{_real_folder(path.parent)}/{path.name}"
    return os.path.realpath(real) if path.name in {"", ".."} or path.is_symlink() else real


@lru_cache(maxsize=256)
def _real_folder(folder: Path) -> str:
    return os.path.realpath(folder).rstrip("/")


def natural_key(path: Path) -> tuple[tuple[int, str], ...]:
    """Sort key that puts ``frame2`` before ``frame10``."""
    parts = _DIGITS.split(str(path).casefold())  # every second part is a number
    return tuple((int(p), "") if n % 2 else (0, p) for n, p in enumerate(parts))


def _expand(text: str) -> list[SourceSpec]:
    if not text:
        raise SourceError("a source is empty; give a file, a folder, a camera number or a URL")
    if text == "-":
        return [SourceSpec("stdin", "-", "stdin")]
    if text.isascii() and text.isdigit() and len(text) < 6:
        device = f"/dev/video{int(text)}"
        return [SourceSpec("camera", device, _camera_name(device))]
    if re.fullmatch(r"/dev/video\d+", text):
        return [SourceSpec("camera", text, text)]
    if text.lower().startswith("file://"):
        text = text[7:]
    elif _URL.match(text.strip()):
        return [_url(text.strip())]
    return _expand_path(text)


def _url(text: str) -> SourceSpec:
    opener = find_opener(text)
    if opener is not None:
        # A source of another package says whether it is live; of a stream that is the default.
        recorded = not getattr(opener, "live", True)
        return SourceSpec("url", text, _name(text), recorded=recorded)
    if _BLANK.search(text):
        raise SourceError(f"{label(text)}: a URL holds no spaces; write them as %20")
    scheme, _, rest = text.partition("://")
    # FFmpeg knows small letters only.
    return SourceSpec("url", f"{scheme.lower()}://{rest}", label(text))


def _name(url: str) -> str:
    """What is shown of a URL of another package; one without a host is a path of this machine."""
    local = ":///" in url and "@" not in url
    return url.partition("?")[0] if local else label(url)


def _expand_path(text: str) -> list[SourceSpec]:
    path = Path(text)
    try:
        if "\0" in text:
            raise SourceError(f"there is no file or folder {text}; a name has no NUL character")
        if path.is_dir():
            return _folder(path)
        if path.exists():
            return _grouped([path], name=text, known_only=False)
    except OSError as error:  # e.g. a name that is too long
        raise SourceError(f"cannot read {text}: {error.strerror}") from error
    if track := _TRACK.fullmatch(text):
        file, number = track[1], int(track[2])
        if Path(file).is_file():
            return [SourceSpec("video", file, text, track=number)]
    shown = shown_source(text)
    if glob.has_magic(text):
        passed = PassedOver()
        asked = set(path.parts)  # of the pattern: '@eaDir/*.jpg' wants what is there
        found = (Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207 - absolute patterns
        matches = [m for m in found if m.is_file() and _kept(m, asked, passed)]
        _say(passed, text)
        specs = _grouped(matches, name=text, known_only=True)
        if specs:
            return specs
        if shown == text:
            raise SourceError(f"no video or picture matches {text}; quote patterns for the shell")
    if shown != text:
        kind = "" if shown == NO_URL else f" ({shown})"
        raise SourceError(
            f"what looks like a URL{kind} is none; a URL is written scheme://host/path"
        )
    raise SourceError(f"there is no file or folder {text}; check the path")


def _kept(match: Path, asked: Collection[str], passed: PassedOver) -> bool:
    # The pattern decides on hidden files.
    parts = [part for part in match.parts if part not in asked and not part.startswith(".")]
    return len(passed.keep(parts)) == len(parts)


def _folder(folder: Path) -> list[SourceSpec]:
    refused: list[OSError] = []
    passed = PassedOver()
    files = (Path(path) for path in files_below(folder, passed, on_error=refused.append))
    specs = _grouped(files, name=str(folder), known_only=True)
    _say(passed, str(folder))
    if not specs:
        why = f" ({refused[0].strerror})" if refused else ""
        raise SourceError(f"folder {folder} holds no video or picture that can be read{why}")
    return specs


def _say(passed: PassedOver, place: str) -> None:
    if (line := passed.summary(place)) is not None:
        log.info("%s", line)


def readable_files(folder: Path) -> list[Path]:
    """The videos and pictures in a folder and the folders in it, by their suffixes, in order.

    Raises:
        SourceError: the folder cannot be listed.
    """
    refused: list[OSError] = []
    files = map(Path, files_below(folder, PassedOver(), on_error=refused.append))
    found = [path for path in files if path.suffix.lower() in _KNOWN_SUFFIXES]
    if refused and not found:
        raise SourceError(f"cannot read the folder {folder}: {refused[0].strerror}")
    return sorted(found, key=natural_key)


def file_source(path: Path) -> SourceSpec:
    """The source of one file, a picture or a video."""
    return _grouped([path], name=str(path), known_only=False)[0]


def _grouped(
    files: Sequence[Path] | Iterator[Path], *, name: str, known_only: bool
) -> list[SourceSpec]:
    """A source for each video, and one for all pictures together, after the videos.

    With ``known_only``, files whose suffix is neither of a picture nor of a video are left out, and
    so are pipes: opening one waits for a writer, without an end.
    """
    ordered = sorted(files, key=natural_key)
    specs: list[SourceSpec] = []
    pictures: list[Path] = []
    for path in ordered:
        suffix = path.suffix.lower()
        if known_only and (suffix not in _KNOWN_SUFFIXES or path.is_fifo()):
            continue
        by_name = "picture" if suffix in PICTURE_SUFFIXES else "video"
        if (content_kind(path) or by_name) == "picture":
            pictures.append(path)
        else:
            specs.append(SourceSpec("video", str(path), str(path)))
    if pictures:
        specs.append(SourceSpec("images", name, name, tuple(pictures)))
    return specs
