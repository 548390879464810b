"""Makes a training set from pictures and videos: detect, align, leave out, write.

The result is what ``faces.read_folder`` reads: a zip of 128×128 pictures with its list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import decode_image, decode_small
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import DataError
from ..progress import ReportProgress, silent
from ..record import git_revision
from .cutter import Cut, Cutter, Which, detector_ids
from .exclusion import EvaluationPeople, NearDuplicates, evaluation_people
from .face_sets import SIDE, UNLABELLED, centre_crop
from .set_sources import LabelBy, Skip, Sources, Still, StillReader, find_sources, sample_frames
from .set_writer import Entry, SetWriter

CHUNK: Final = 16
WEBP_QUALITY: Final = 80
# A cut of which more than this lies beyond the picture is mostly black.
MOST_BEYOND: Final = 0.5


class PrepareSettings(BaseModel):
    """What decides how a set is made; written into its manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: LabelBy = Field(default="folder", description="what names the person of a picture")
    zips: Literal["aligned", "detect"] = Field(
        default="aligned",
        description="pictures in zips are taken over as they are, or searched for faces",
    )
    faces: Which = Field(
        default="main",
        description="of an unlabelled picture: the face it is about, or all; videos give all",
    )
    duplicates: float = Field(
        default=0.9, gt=0, description="cosine from which two pictures are the same; 2 keeps all"
    )
    exclude: Path | None = Field(default=None, description="evaluation set, folder or zip")
    exclude_cosine: float = Field(
        default=0.5, gt=0, le=1, description="to an evaluation person: left out"
    )
    min_face: int = Field(default=40, ge=12, description="smallest face, pixels")
    min_score: float = Field(default=0.9, ge=0, le=1, description="the detector's probability")
    every: float = Field(default=0.5, gt=0, description="seconds between a video's frames")
    model: Path | None = Field(default=None, description="card of the encoder that compares faces")
    cache: Path = Path("runs/cache")
    threads: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A face that may go into the set; ``content`` where it is taken over as it was encoded."""

    label: str
    stem: str
    name: str
    cut: Cut
    content: bytes | None = None


@dataclass(slots=True, eq=False)
class _Making:
    """What the work is done with, and what is known so far."""

    settings: PrepareSettings
    writer: SetWriter
    cutter: Cutter
    encoder: Encoder
    people: EvaluationPeople | None
    duplicates: NearDuplicates
    skipped: list[Skip]
    counts: Counter[str] = field(default_factory=Counter)
    persons: Counter[str] = field(default_factory=Counter)
    members: set[str] = field(default_factory=set)
    label: str = UNLABELLED
    waiting: list[tuple[Entry, str, NDArray[np.float32]]] = field(default_factory=list)


def prepare_set(
    inputs: Sequence[Path],
    folder: Path,
    name: str,
    *,
    settings: PrepareSettings | None = None,
    existing: Literal["refuse", "replace"] = "refuse",
    progress: ReportProgress = silent,
) -> dict[str, Any]:
    """Make ``<name>.zip`` with ``<name>.csv``, ``<name>.skipped.csv`` and ``<name>.json``.

    Nothing is left of a set that is not finished.

    Args:
        inputs: folders, zips and videos.
        folder: where the set goes.
        existing: what to do with a set of that name.

    Returns:
        The manifest: counts, checksums, settings, models, what was skipped.

    Raises:
        DataError: no usable picture, an input is missing, the set exists, or the disk is full.
        ModelError: the encoder is missing or damaged.
    """
    settings = settings or PrepareSettings()
    if settings.faces == "all" and settings.label != "none":
        raise DataError("all faces of a picture cannot be the labelled person: use --label none")
    sources = find_sources(inputs, label=settings.label)
    if not sources.stills and not sources.videos:
        raise _nothing(inputs, sources.skipped)
    with ExitStack() as stack:
        writer = stack.enter_context(SetWriter(folder, name, replace=existing == "replace"))
        cutter = stack.enter_context(
            Cutter(
                min_face=settings.min_face, min_score=settings.min_score, threads=settings.threads
            )
        )
        serving = Serving(threads=settings.threads)
        encoder = stack.enter_context(Encoder(model=settings.model, serving=serving))
        people = None
        if settings.exclude is not None:
            people = evaluation_people(
                settings.exclude, cutter, encoder, cache=settings.cache, progress=progress
            )
        making = _Making(
            settings=settings,
            writer=writer,
            cutter=cutter,
            encoder=encoder,
            people=people,
            duplicates=NearDuplicates(settings.duplicates),
            skipped=list(sources.skipped),
        )
        _take_stills(making, sources.stills, progress)
        for video in sources.videos:
            _take_video(making, video, progress)
        _flush(making)
        if not making.counts["pictures"]:
            raise _nothing(inputs, making.skipped)
        return writer.commit(_manifest(making, name, inputs, sources), making.skipped)


def _nothing(inputs: Sequence[Path], skipped: Sequence[Skip]) -> DataError:
    names = ", ".join(str(path) for path in inputs)
    why = ", ".join(f"{n} {reason}" for reason, n in Counter(s.reason for s in skipped).items())
    first = f", the first {skipped[0].name} ({skipped[0].detail})" if skipped else ""
    return DataError(
        f"no face to train on in {names}: {why or 'no pictures or videos'}{first}; "
        "see the options --label, --zips, --min-face and --min-score"
    )


def _take_stills(making: _Making, stills: Sequence[Still], progress: ReportProgress) -> None:
    with StillReader() as reader:
        for start in range(0, len(stills), CHUNK):
            chunk = stills[start : start + CHUNK]
            candidates: dict[int, list[_Candidate]] = {}
            searched: list[tuple[int, Image]] = []
            for i, still in enumerate(chunk):
                try:
                    content = reader.read(still)
                    image = decode_image(content, name=still.name)
                except (DataError, ImageError) as error:
                    making.skipped.append(Skip(still.name, "unreadable", str(error)))
                    continue
                if still.member is not None and making.settings.zips == "aligned":
                    candidates[i] = _taken_over(making, still, content, image)
                else:
                    searched.append((i, image))
            found = making.cutter.cut([image for _, image in searched], which=making.settings.faces)
            for (i, _), faces in zip(searched, found, strict=True):
                still = chunk[i]
                making.counts["pictures_with_several_faces"] += faces.seen > 1
                candidates[i] = _usable(making, still.label, still.stem, still.name, faces.cuts)
            _decide(making, [c for i in sorted(candidates) for c in candidates[i]])
            progress("pictures", start + len(chunk), len(stills))


def _taken_over(making: _Making, still: Still, content: bytes, image: Image) -> list[_Candidate]:
    """A picture that is aligned already, as it is."""
    if image.shape[:2] != (SIDE, SIDE):
        height, width = image.shape[:2]
        making.skipped.append(
            Skip(
                still.name,
                "wrong size",
                f"{width}×{height}, aligned pictures are {SIDE}×{SIDE}; see --zips detect",
            )
        )
        return []
    nan = float("nan")
    score, face_px = (still.listed.score, still.listed.face_px) if still.listed else (nan, nan)
    cut = Cut(picture=image, score=score, face_px=face_px, beyond=0.0)
    # Training reads with OpenCV: what that cannot read is encoded again.
    known = decode_small(content) is not None
    return [_Candidate(still.label, still.stem, still.name, cut, content if known else None)]


def _usable(
    making: _Making, label: str, stem: str, name: str, cuts: Sequence[Cut]
) -> list[_Candidate]:
    """The faces of a picture that are whole enough; the others are noted."""
    if not cuts:
        making.skipped.append(Skip(name, "no face"))
    usable = []
    for number, cut in enumerate(cuts):
        if cut.beyond > MOST_BEYOND:
            making.skipped.append(Skip(name, "cut off", f"{cut.beyond:.0%} beyond the edge"))
            continue
        making.counts["faces_reaching_beyond_the_edge"] += cut.beyond > 0.02
        usable.append(_Candidate(label, f"{stem}_{number}" if number else stem, name, cut))
    return usable


def _take_video(making: _Making, path: Path, progress: ReportProgress) -> None:
    """The faces of a video's sampled frames; nobody's."""
    making.counts["videos"] += 1
    frames = 0
    waiting: list[tuple[float, Image]] = []

    def take() -> None:
        found = making.cutter.cut([image for _, image in waiting], which="all")
        for (time, _), faces in zip(waiting, found, strict=True):
            stem = f"{path.stem}_{round(time * 1000):08d}"
            # A frame without a face is no loss: it is not listed.
            if faces.cuts:
                name = f"{path.name}@{time:.2f}s"
                _decide(making, _usable(making, UNLABELLED, stem, name, faces.cuts))
        waiting.clear()

    try:
        for moment in sample_frames(path, every=making.settings.every):
            waiting.append(moment)
            frames += 1
            if len(waiting) == CHUNK // 2:
                take()
                progress(path.name, frames, frames)
    except DataError as error:
        making.skipped.append(Skip(path.name, "unreadable", str(error)))
    take()
    making.counts["frames"] += frames
    progress(path.name, frames, frames)


def _decide(making: _Making, candidates: Sequence[_Candidate]) -> None:
    """Drop near duplicates and evaluation people; hold back the rest until the person is done."""
    if not candidates:
        return
    crops = np.stack([centre_crop(c.cut.picture) for c in candidates])
    units = normalise(making.encoder.embed(crops)[0])
    cosines = np.full(len(units), np.nan, np.float32)
    if making.people is not None:
        cosines = making.people.nearest(units)
    for candidate, unit, cosine in zip(candidates, units, cosines, strict=True):
        if candidate.label != making.label or candidate.label == UNLABELLED:
            _flush(making)
            making.label = candidate.label
        if cosine >= making.settings.exclude_cosine:
            making.skipped.append(Skip(candidate.name, "evaluation", f"cosine {cosine:.3f}"))
            continue
        nearest = making.duplicates.nearest(candidate.label, unit)
        if nearest >= making.settings.duplicates:
            making.skipped.append(Skip(candidate.name, "near duplicate", f"cosine {nearest:.3f}"))
            continue
        making.waiting.append((_entry(making, candidate, float(cosine)), candidate.name, unit))


def _flush(making: _Making) -> None:
    """Write a complete person's pictures, unless their mean is close to an evaluation person."""
    waiting, making.waiting = making.waiting, []
    if not waiting:
        return
    if making.people is not None and making.label != UNLABELLED:
        mean = normalise(np.mean([unit for _, _, unit in waiting], axis=0))
        cosine = float(making.people.nearest(mean[None])[0])
        if cosine >= making.settings.exclude_cosine:
            making.skipped += [
                Skip(name, "evaluation person", f"cosine of all {len(waiting)}: {cosine:.3f}")
                for _, name, _ in waiting
            ]
            return
    for entry, _, _ in waiting:
        making.writer.add(entry)
    making.counts["pictures"] += len(waiting)
    if making.label != UNLABELLED:
        making.persons[making.label] += len(waiting)


def _entry(making: _Making, candidate: _Candidate, eval_cosine: float) -> Entry:
    content, suffix = candidate.content, Path(candidate.name).suffix.lower()
    if content is None:
        suffix = ".webp"
        done, data = cv2.imencode(
            suffix, candidate.cut.picture, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
        )
        if not done:
            raise DataError(f"{candidate.name} could not be written as WebP")
        content = data.tobytes()
    member, number = f"{candidate.label}/{candidate.stem}{suffix}", 1
    while member in making.members:
        # Two videos of one name, say.
        number += 1
        member = f"{candidate.label}/{candidate.stem}_{number}{suffix}"
    making.members.add(member)
    return Entry(
        member=member,
        content=content,
        score=candidate.cut.score,
        face_px=candidate.cut.face_px,
        eval_cosine=eval_cosine,
    )


def _manifest(
    making: _Making, name: str, inputs: Sequence[Path], sources: Sources
) -> dict[str, Any]:
    people = making.people
    return {
        "name": name,
        "pictures": making.counts["pictures"],
        "identities": len(making.persons),
        "identities_with_one_picture": sum(n == 1 for n in making.persons.values()),
        "unlabelled": making.counts["pictures"] - making.persons.total(),
        "pictures_with_several_faces": making.counts["pictures_with_several_faces"],
        "faces_reaching_beyond_the_edge": making.counts["faces_reaching_beyond_the_edge"],
        "skipped": dict(sorted(Counter(skip.reason for skip in making.skipped).items())),
        "sources": {
            "inputs": [path.name for path in inputs],
            "pictures": len(sources.stills),
            "videos": len(sources.videos),
            "frames": making.counts["frames"],
            "other_files": sources.ignored,
        },
        "evaluation_set": None
        if people is None
        else {
            "people": len(people.means),
            "pictures": people.pictures,
            "without_a_face": people.faceless,
        },
        "settings": making.settings.model_dump(mode="json"),
        "models": {"detector": detector_ids(), "encoder": making.encoder.model_id},
        "git": git_revision(),
    }
