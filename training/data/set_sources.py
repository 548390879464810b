"""Where pictures for a training set come from, and whose they are: folders, zips and videos."""

from __future__ import annotations

import csv
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from facestream.engines.closing import Closing
from facestream.pipeline.core.errors import ImageError, SourceError
from facestream.pipeline.core.folders import PassedOver, files_below
from facestream.pipeline.core.images import read_bytes
from facestream.pipeline.core.picture_kinds import PICTURE_SUFFIXES
from facestream.pipeline.core.types import Image
from facestream.pipeline.sources import FileSource, SourceSpec
from facestream.pipeline.sources.expand import VIDEO_SUFFIXES

from ..errors import DataError
from .face_sets import UNLABELLED, read_member

LabelBy = Literal["folder", "prefix", "none"]
Reason = Literal[
    "unreadable",  # no picture, damaged, or a video that cannot be decoded
    "no label",  # its folder or name does not say who it is
    "not listed",  # its zip's list does not name it
    "wrong size",  # taken over as aligned, but not 128×128
    "no face",  # the detector found none it is sure of
    "cut off",  # too much of the face lies beyond the picture's edge
    "near duplicate",  # of another picture of the person, or of an unlabelled one
    "evaluation",  # is close to a person of the evaluation set
    "evaluation person",  # the person's pictures together do
]

# anna_01, anna-1, anna 2, anna (3), anna.4
_PREFIX = re.compile(r"^(?P<label>.*?\D)??[\s._-]*\(?\d+\)?$")
_UNSAFE = re.compile(r"[\x00-\x1f/\\:]")


@dataclass(frozen=True, slots=True)
class Skip:
    """A picture that was left out, and why."""

    name: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A member of a zip of aligned faces, by the csv beside it."""

    score: float
    face_px: float


@dataclass(frozen=True, slots=True)
class Still:
    """One picture file.

    Attributes:
        label: the person, ``x`` where nobody is named.
        stem: of its member in the set to be.
        name: what to call it in a list.
        path: the file, or the zip that holds it.
        member: its name in that zip, None for a file.
        listed: its entry in the zip's list, if there is one.
    """

    label: str
    stem: str
    name: str
    path: Path
    member: str | None = None
    listed: Listed | None = None


@dataclass(slots=True)
class Sources:
    """What was found.

    Attributes:
        stills: sorted by label, so that a person's pictures come together.
        videos: files.
        skipped: pictures left out before they were opened.
        ignored: files that are neither picture, zip nor video.
    """

    stills: list[Still] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    ignored: int = 0


# fmt: off
_UNREADABLE = (
    OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, ImageError,
)
# fmt: on


class StillReader(Closing):
    """Reads the bytes of stills; a zip is opened once. For one thread."""

    def __init__(self) -> None:
        self._zips: dict[Path, zipfile.ZipFile] = {}

    def read(self, still: Still) -> bytes:
        """The picture file's content.

        Raises:
            DataError: the file or member cannot be read.
        """
        try:
            if still.member is None:
                return read_bytes(still.path)
            if still.path not in self._zips:
                self._zips[still.path] = zipfile.ZipFile(still.path)
            return read_member(self._zips[still.path], still.member)
        except (
            OSError,
            KeyError,
            RuntimeError,
            zipfile.BadZipFile,
            zlib.error,
            ImageError,
        ) as error:
            raise DataError(f"cannot read {still.name}: {error}") from error

    def close(self) -> None:
        """Close the zips."""
        for archive in self._zips.values():
            archive.close()
        self._zips.clear()


def label_of(parts: Sequence[str], by: LabelBy) -> str | None:
    """Whose picture a path is, None where it does not say.

    Args:
        parts: of the path below the folder (or in the zip) that was given.
        by: ``folder``: the folder that lies directly in the given one, ``person/picture.jpg``.
            ``prefix``: the file's name without its number, ``anna_01.jpg``; a name without a
            number is the person. ``none``: nobody's.
    """
    if by == "none":
        return UNLABELLED
    if by == "folder":
        label = parts[0] if len(parts) == 2 else ""
    else:
        stem = PurePosixPath(parts[-1]).stem
        found = _PREFIX.match(stem)
        label = (found["label"] or "").rstrip(" ._-") if found else stem
    return _safe(label) or None


def find_sources(inputs: Sequence[Path], *, label: LabelBy) -> Sources:
    """List the pictures and videos of folders, zips and video files.

    Raises:
        DataError: an input is missing, damaged or of an unknown kind.
    """
    found = Sources()
    for path in inputs:
        if path.is_dir():
            _scan_folder(path, label, found)
        elif not path.exists():
            raise DataError(f"there is no {path}; give folders, zips or videos")
        elif path.suffix.lower() == ".zip":
            _scan_zip(path, label, found)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            found.videos.append(path)
        else:
            raise DataError(f"{path} is no folder, zip or video; to add a picture give its folder")
    found.stills = _distinct(sorted(found.stills, key=lambda s: (s.label, s.stem, s.name)))
    return found


def _scan_folder(root: Path, label: LabelBy, found: Sources) -> None:
    files = [Path(path) for path in files_below(root, PassedOver())]
    pictures = [path for path in files if path.suffix.lower() in PICTURE_SUFFIXES]
    found.videos += [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    found.ignored += sum(
        path.suffix.lower() not in PICTURE_SUFFIXES | VIDEO_SUFFIXES for path in files
    )
    names = [path.relative_to(root).as_posix() for path in pictures]
    for path, (name, parts) in zip(pictures, _below_shared_top(names), strict=True):
        _add(found, Still("", "", f"{root.name}/{name}", path), parts, label)


def _scan_zip(path: Path, label: LabelBy, found: Sources) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(i.filename for i in archive.infolist() if not i.is_dir())
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot open {path}: {error}; is it a zip?") from error
    listed = _read_listed(path.with_suffix(".csv"))
    pictures = [name for name in members if PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES]
    found.ignored += len(members) - len(pictures)
    for name, parts in _below_shared_top(pictures):
        shown = f"{path.name}/{name}"
        # The list is the authority: what it leaves out may be close to an evaluation person.
        if listed is not None and name not in listed:
            found.skipped.append(Skip(shown, "not listed", f"{path.stem}.csv does not name it"))
            continue
        _add(found, Still("", "", shown, path, name, (listed or {}).get(name)), parts, label)


def _add(found: Sources, still: Still, parts: Sequence[str], by: LabelBy) -> None:
    label = label_of(parts, by)
    if label is None:
        want = "person/picture.jpg" if by == "folder" else "person_01.jpg"
        found.skipped.append(Skip(still.name, "no label", f"not of the form {want}"))
        return
    stem = _safe(PurePosixPath(parts[-1]).stem) or "picture"
    found.stills.append(Still(label, stem, still.name, still.path, still.member, still.listed))


def _below_shared_top(names: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each name with its parts; a folder around all the people (``lfw/<person>/…``) is left off."""
    split = [PurePosixPath(name).parts for name in names]
    shared = len({parts[0] for parts in split}) == 1 and min(map(len, split)) > 2
    for name, parts in zip(names, split, strict=True):
        yield name, parts[1:] if shared else parts


def _read_listed(path: Path) -> dict[str, Listed] | None:
    """The csv beside a zip, None where there is none."""
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["member"]: Listed(float(row["score"]), float(row["face_px"]))
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is not the list of its zip ({error}); its columns are member, score, "
            "face_px, eval_cosine; move it away if it is something else"
        ) from error


def _distinct(stills: list[Still]) -> list[Still]:
    """The same with stems that are unique within a label (a.jpg and a.png, two inputs)."""
    taken: set[tuple[str, str]] = set()
    result = []
    for still in stills:
        stem, number = still.stem, 1
        while (still.label, stem) in taken:
            number += 1
            stem = f"{still.stem}_{number}"
        taken.add((still.label, stem))
        result.append(Still(still.label, stem, still.name, still.path, still.member, still.listed))
    return result


def _safe(name: str) -> str:
    """A name that can be a part of a member's path."""
    return _UNSAFE.sub("_", name).strip().lstrip(".")


def sample_frames(path: Path, *, every: float) -> Iterator[tuple[float, Image]]:
    """Frames of a video as players show them, at least ``every`` seconds apart.

    Yields:
        Time in seconds since the start and the picture, H×W×3 BGR uint8.

    Raises:
        DataError: it cannot be opened, has no video, or breaks off (what came before was good).
    """
    try:
        with FileSource(SourceSpec("video", str(path), str(path))) as source:
            start: float | None = None
            wanted = 0.0
            for index, picture in enumerate(source.pictures()):
                time = index / (source.info.fps or 25) if picture.time is None else picture.time
                start = time if start is None else start
                since = time - start
                if since + 1e-6 < wanted:
                    continue
                image = picture.image()
                if image is not None:
                    wanted = since + every
                    yield since, image
            problems = source.problems
    except SourceError as error:
        raise DataError(str(error)) from error
    if problems:
        raise DataError(problems[0])
