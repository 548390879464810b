"""``facestream identify``: who is in these pictures."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table
from rich.text import Text

from ..analysis import Models, load_models
from ..core.config import Settings, load_settings
from ..core.errors import ImageError, SourceError
from ..core.types import Faces, Identity, Image
from ..gallery import Gallery
from ..identity.search import Look, Matcher
from ..recognition.align import align_faces
from ..recognition.uncertainty import sigma
from ..stages.rules import open_matcher, searching_of
from .console import stderr, stdout
from .errors import BAD_INPUT
from .pictures import list_pictures, nothing_readable, read_ahead
from .run import announce_gallery, chosen_gallery, what_runs

Form = Literal["table", "json"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A picture with its faces named, or why it cannot be read."""

    path: str
    faces: Faces
    sigmas: tuple[float, ...] = ()
    identities: tuple[Identity, ...] = ()
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; numbers as in events.jsonl."""
        return {
            "path": self.path,
            "problem": self.problem,
            "faces": [self._face(row) for row in range(len(self.faces))],
        }

    def _face(self, row: int) -> dict[str, Any]:
        identity = self.identities[row]
        return {
            "box": [round(float(value), 1) for value in self.faces.boxes[row]],
            "score": round(float(self.faces.scores[row]), 4),
            "person_id": identity.person_id,
            "name": identity.name or "unknown",
            "similarity": round(identity.similarity, 4),
            "probability": round(identity.probability, 4),
            "uncertainty": round(self.sigmas[row], 4),
            "reason": identity.reason,
        }


def identify_images(
    images: Sequence[Path],
    *,
    gallery: Path | None,
    form: Form,
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Print who is in the pictures; returns the exit status.

    Raises:
        UsageError: there are no pictures, or a setting or the gallery cannot be used.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    files = list_pictures(images)
    known = chosen_gallery(gallery)
    with ExitStack() as stack:
        people = None if known is None else stack.enter_context(_people(known, settings))
        models = stack.enter_context(load_models(settings))
        if people is not None:
            people.require_model(models.encoder.model_id)
        running = what_runs(models, settings, people)
        matcher = open_matcher(people, models.encoder.card, settings.recognition)
        named = list(_named(files, models, matcher))
    problems = [one.problem for one in named if one.problem is not None]
    if len(problems) == len(named):
        raise SourceError(nothing_readable(problems))
    announce_gallery(gallery, known)
    log.info("%s", running)
    if form == "json":
        # An array with a picture a line: for programs as for people.
        lines = [json.dumps(one.to_dict(), ensure_ascii=False) for one in named]
        print("[\n" + ",\n".join(lines) + "\n]")
    else:
        stdout().print(_table(named))
    for problem in problems:
        stderr().print(f"facestream: {problem}", soft_wrap=True, markup=False)
    return BAD_INPUT if problems else 0


def _people(path: Path, settings: Settings) -> Gallery:
    return Gallery(path, create="never", searching=searching_of(settings.runtime))


def _named(files: Sequence[str], models: Models, matcher: Matcher) -> Iterator[Named]:
    for path, image in read_ahead(files, ahead=8):
        if isinstance(image, ImageError):
            yield Named(path, Faces.empty(), problem=str(image))
        else:
            yield _name(path, image, models, matcher)


def _name(path: str, image: Image, models: Models, matcher: Matcher) -> Named:
    faces = models.detector.detect(image)
    if not len(faces):
        return Named(path, faces)
    mu, logvar = models.encoder.embed(align_faces(image, faces.landmarks))
    sigmas = sigma(logvar)
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1)
    looks = [
        Look(matches, float(spread), float(side))
        for matches, spread, side in zip(matcher.search(mu), sigmas, sides, strict=True)
    ]
    identities = matcher.decide(looks)
    order = np.argsort(faces.boxes[:, 0], kind="stable")  # from left to right
    return Named(
        path,
        faces.take(order),
        tuple(float(sigmas[row]) for row in order),
        tuple(identities[row] for row in order),
    )


def _table(named: Sequence[Named]) -> Table:
    table = Table()
    for title in ("Picture", "Who"):
        table.add_column(title, overflow="fold")
    for title in ("Similarity", "Probability", "σ", "Box"):
        table.add_column(title, justify="right")
    for one in named:
        if not len(one.faces):
            table.add_row(
                Text(one.path), Text((one.problem and "unreadable") or "no face", style="dim")
            )
        for row, identity in enumerate(one.identities):
            who = Text(identity.name or "unknown", style="green" if identity.known else "yellow")
            if identity.reason is not None:
                who.append(f" ({identity.reason.replace('_', ' ')})")
            box = " ".join(f"{value:.0f}" for value in one.faces.boxes[row])
            numbers = (identity.similarity, identity.probability, one.sigmas[row])
            table.add_row(
                Text(one.path if row == 0 else ""), who, *(f"{n:.2f}" for n in numbers), box
            )
    return table
