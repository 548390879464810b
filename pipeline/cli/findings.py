"""The findings of ``gallery check`` in words, also those of photos that were just added."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path

from facestream.engines.cards import load_card

from ..core.config import Settings
from ..gallery import Gallery
from ..gallery.check import DoubtfulPhoto, GalleryCheck
from ..identity.search import open_rules
from ..recognition.encoder import DEFAULT_MODEL
from ..storage.names import printable


def check_with(
    gallery: Gallery, settings: Settings, people: Collection[str] | None = None
) -> GalleryCheck:
    """Check a gallery with the thresholds of the settings; see ``Gallery.check``."""
    card = load_card(DEFAULT_MODEL)
    gallery.require_model(card.id)
    thresholds, cohort = open_rules(card, settings.recognition)
    return gallery.check(people, thresholds=thresholds, cohort=cohort)


def finding_lines(found: GalleryCheck, gallery: Path | None) -> list[str]:
    """A line for each finding, with the command that mends it; ``gallery`` is what was given."""
    lines = []
    for pair in found.same:
        one, other = (printable(name) for name in pair.names)
        lines.append(
            f"'{one}' and '{other}' may be one person: similarity {pair.similarity:.2f}, and from "
            f"{found.threshold:.2f} on a face gets the name; if so: "
            + _command(gallery, "merge", *pair.names)
        )
    return lines + [
        f"{_doubt(photo)}; if it is wrong: "
        + _command(gallery, "remove", photo.name, photo=photo.photo_id)
        for photo in found.doubtful
    ]


def _doubt(photo: DoubtfulPhoto) -> str:
    name = printable(photo.name)
    what = f"the photo '{printable(photo.path)}' of '{name}'"
    if photo.problem == "other_person":
        return (
            f"{what} resembles '{printable(photo.other or '')}' ({photo.other_similarity:.2f}) "
            f"more than the other photos of '{name}' ({photo.similarity or 0:.2f})"
        )
    if photo.problem == "unlike":
        return f"{what} does not resemble the other photos ({photo.similarity or 0:.2f})"
    return f"{what} shows too little of the face to recognise it by (σ {photo.sigma:.2f})"


def _command(gallery: Path | None, command: str, *names: str, photo: int | None = None) -> str:
    words = ["facestream", "gallery", command]
    if gallery is not None:
        words += ["--gallery", str(gallery)]
    if photo is not None:
        words += ["--photo", str(photo)]
    if any(name.startswith("-") for name in names):
        words.append("--")
    return printable(shlex.join([*words, *names]))
