"""``facestream identify``: who is in these pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..analysis import AnalyzedFace, FaceAnalyzer
from ..core.config import load_settings
from ..core.errors import ImageError, SourceError
from ..core.picture_files import list_pictures, nothing_readable, read_ahead
from ..gallery import Gallery
from ..gallery.gallery import searching_of
from .console import json_text, stdout, table, warn
from .errors import BAD_INPUT
from .run import announce_gallery, chosen_gallery, what_runs

log = logging.getLogger(__name__)


Picture = tuple[str, list[AnalyzedFace] | ImageError]
"""A path with its faces from left to right, or why it cannot be read."""


def _to_dict(path: str, faces: list[AnalyzedFace] | ImageError) -> dict[str, Any]:
    """For JSON; numbers as in events.jsonl."""
    if isinstance(faces, ImageError):
        return {"path": path, "problem": str(faces), "faces": []}
    return {"path": path, "problem": None, "faces": [_face(face) for face in faces]}


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
    }


def identify_images(
    images: Sequence[Path],
    *,
    gallery: Path | None,
    as_json: bool,
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Print who is in the pictures; returns the exit status.

    Raises UsageError if there are no pictures, or a setting or the gallery cannot be used.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
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
    problems = [str(faces) for _, faces in pictures if isinstance(faces, ImageError)]
    if len(problems) == len(pictures):
        raise SourceError(nothing_readable(problems))
    announce_gallery(gallery, known)
    log.info("%s", running)
    if as_json:
        # An array with a picture a line: for programs as for people.
        lines = [json_text(_to_dict(*one)) for one in pictures]
        print("[\n" + ",\n".join(lines) + "\n]")
    else:
        stdout().print(_table(pictures))
    for problem in problems:
        warn(problem)
    return BAD_INPUT if problems else 0


def _identified(files: Sequence[str], analyzer: FaceAnalyzer) -> Iterator[Picture]:
    for path, image in read_ahead(files, ahead=8):
        if isinstance(image, ImageError):
            yield path, image
        else:
            yield path, list(analyzer.analyze(image).left_to_right())


def _table(pictures: Sequence[Picture]) -> Table:
    numeric = ("Similarity", "Probability", "σ", "Box")
    shown = table("Picture", "Who", *numeric, right=numeric)
    for path, faces in pictures:
        if isinstance(faces, ImageError) or not faces:
            state = "unreadable" if isinstance(faces, ImageError) else "no face"
            shown.add_row(Text(path), Text(state, style="dim"))
            continue
        for row, face in enumerate(faces):
            identity = face.identity
            who = Text(identity.name or "unknown", style="green" if identity.known else "yellow")
            if identity.reason is not None:
                who.append(f" ({identity.reason.replace('_', ' ')})")
            box = " ".join(f"{value:.0f}" for value in face.box)
            likeness = [f"{n:.2f}" for n in (identity.similarity, identity.probability)]
            if identity.reason == "no_gallery":
                likeness = ["–", "–"]  # nothing was compared
            cells = (*likeness, f"{face.sigma:.2f}", box)
            shown.add_row(Text("" if row else path), who, *cells)
    return shown
