"""``facestream identify``: who is in these pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..analysis import AnalyzedFace, FaceAnalyzer
from ..core.config import load_settings
from ..core.errors import ImageError, SourceError
from ..core.picture_files import list_pictures, nothing_readable, read_ahead
from ..detection.turned import describe_turn
from ..gallery import Gallery
from ..gallery.gallery import searching_of
from .console import json_text, stdout, table, warn
from .errors import BAD_INPUT
from .run import announce_gallery, chosen_gallery, what_runs
from .summary import reason_in_words

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A path with its faces from left to right, or why it cannot be read, and notes on it."""

    path: str
    faces: list[AnalyzedFace]
    problem: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; numbers as in events.jsonl."""
        return {
            "path": self.path,
            "problem": self.problem,
            "faces": [_face(face) for face in self.faces],
            "notes": self.notes,
        }


def _face(face: AnalyzedFace) -> dict[str, Any]:
    identity = face.identity
    return {
        "box": [round(float(value), 1) for value in face.box],
        "score": round(face.score, 4),
        "person_id": identity.person_id,
        "name": identity.name or "unknown",
        "similarity": round(identity.similarity, 4),
        "probability": round(identity.probability, 4),
        "uncertainty": round(face.sigma, 4),
        "reason": identity.reason,
        "candidates": [
            {**one._asdict(), "similarity": round(one.similarity, 4)} for one in identity.candidates
        ],
    }


def identify_images(
    images: Sequence[Path],
    *,
    gallery: str | None,
    as_json: bool,
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Print who is in the pictures; returns the exit status.

    Raises UsageError if there are no pictures, or a setting or the gallery cannot be used.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    settings.storage.apply()
    files = list_pictures(images)
    known = chosen_gallery(gallery)
    with ExitStack() as stack:
        people = None
        if known is not None:
            searching = searching_of(settings.runtime)
            people = stack.enter_context(Gallery(known, create="never", searching=searching))
        analyzer = stack.enter_context(FaceAnalyzer(settings, gallery=people).load())
        running = what_runs(analyzer, people)
        pictures = list(_identified(files, analyzer))
    problems = [picture.problem for picture in pictures if picture.problem is not None]
    if len(problems) == len(pictures):
        raise SourceError(nothing_readable(problems))
    announce_gallery(gallery, known)
    log.info("%s", running)
    if as_json:
        # An array with a picture a line: for programs as for people.
        lines = [json_text(one.to_dict()) for one in pictures]
        print("[\n" + ",\n".join(lines) + "\n]")
    else:
        stdout().print(_table(pictures))
    for line in [*(note for picture in pictures for note in picture.notes), *problems]:
        warn(line)
    return BAD_INPUT if problems else 0


def _identified(files: Sequence[str], analyzer: FaceAnalyzer) -> Iterator[_Picture]:
    for path, photo in read_ahead(files, ahead=8):
        if isinstance(photo, ImageError):
            yield _Picture(path, [], str(photo))
            continue
        found = analyzer.analyze(photo).left_to_right()
        notes = [photo.damage] if photo.damage else []
        if found.turned:
            notes.append(f"{path}: {describe_turn(found.turned)}")
        yield _Picture(path, list(found), None, tuple(notes))


def _table(pictures: Sequence[_Picture]) -> Table:
    numeric = ("Similarity", "Probability", "σ", "Box")
    shown = table("Picture", "Who", *numeric, right=numeric)
    for picture in pictures:
        if not picture.faces:
            state = "no face" if picture.problem is None else "unreadable"
            shown.add_row(Text(picture.path), Text(state, style="dim"))
        for row, face in enumerate(picture.faces):
            identity = face.identity
            who = Text(identity.name or "unknown", style="green" if identity.known else "yellow")
            if identity.reason is not None:
                names = tuple(one.name for one in identity.candidates)
                who.append(f" ({reason_in_words(identity.reason, names)})")
            box = " ".join(f"{value:.0f}" for value in face.box)
            likeness = [f"{n:.2f}" for n in (identity.similarity, identity.probability)]
            if identity.reason == "no_gallery":
                likeness = ["–", "–"]  # nothing was compared
            cells = (*likeness, f"{face.sigma:.2f}", box)
            shown.add_row(Text("" if row else picture.path), who, *cells)
    return shown
