"""Pages of pictures that commands write."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from ..exports.pages import image as image
from ..exports.pages import item as item
from ..exports.pages import page
from ..exports.pages import picture_url as picture_url
from ..sightings import Sighting, Sightings
from ..sinks.files import write_whole
from .who import local

log = logging.getLogger(__name__)


def sighting_picture(sightings: Sightings, one: Sighting) -> str | None:
    """The address of the cut of a sighting's frame; None where it cannot be read."""
    try:
        data = sightings.picture(one.id, "frame")
    except OSError as error:
        log.warning("the picture %s is left out: %s", one.pictures.get("frame"), error.strerror)
        return None
    return None if data is None else picture_url(data)


def write_page(path: Path, title: str, headline: str, items: Iterable[str]) -> None:
    """Write a page of ``li`` elements; title and headline are plain text.

    Raises:
        OutputError: it cannot be written.
    """
    made = local(datetime.now().astimezone())
    write_whole(path, page(title, f"{headline}. {made}", items))
