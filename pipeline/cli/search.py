"""``facestream search`` and ``facestream why``: was this face here, and why (not) named."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from ..analysis import FaceAnalyzer
from ..core.config import Settings
from ..gallery import Gallery
from ..sightings import Sightings
from ..sightings.by_photo import PhotoSearch
from ..sightings.evidence import evidence_of
from ..sightings.search import SearchResult
from ..storage.names import printable
from .console import plural, print_json, say, stdout, table
from .pages import item, sighting_picture, write_page
from .who import STYLES, local, place_of, when_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What ``facestream search`` is asked; None does not restrict."""

    photo: Path
    since: datetime | None = None
    until: datetime | None = None
    sources: tuple[str, ...] | None = None
    limit: int = 100
    page: Path | None = None


def search_photo(
    request: SearchRequest, sightings: Sightings, settings: Settings, *, as_json: bool
) -> None:
    """Print, or write as a page, where the face of a photo was seen.

    Raises:
        ImageError: the photo cannot be read, or shows no face.
        OutputError: the page cannot be written.
    """
    with FaceAnalyzer(settings).load() as analyzer:
        searched = PhotoSearch(sightings, analyzer).search(
            request.photo,
            name=str(request.photo),
            since=request.since,
            until=request.until,
            sources=request.sources,
            limit=request.limit,
        )
    result = searched.found
    if searched.poor:
        log.warning(
            "%s shows the face too poorly (sigma %.2f) for a reliable search",
            request.photo, searched.sigma,
        )  # fmt: skip
    if request.page is not None:
        _write_page(request.page, request.photo, result, sightings)
    if as_json:
        print_json(
            {
                "sightings": [
                    {
                        **hit.sighting.to_dict(),
                        "match": round(hit.similarity, 4),
                        "match_probability": round(hit.probability, 4),
                    }
                    for hit in result.hits
                ],
                "searched": result.searched,
                "threshold": round(result.threshold, 4),
                "false_alarms": result.false_alarms,
            }
        )
        return
    if result.hits:
        shown = table("Match", "When", "Where", "Named", "Id", right=("Match",))
        for hit in result.hits:
            one = hit.sighting
            shown.add_row(
                f"{hit.similarity:.2f}",
                when_of(one),
                Text(place_of(one)),
                Text(printable(one.name)),
                one.id[:8],
            )
        stdout().print(shown)
    say(_headline(result))
    if request.page is not None:
        say(f"Wrote {request.page}")


def _headline(result: SearchResult) -> str:
    among = f"among {plural(result.searched, 'sighting')}"
    found = f"seen {plural(len(result.hits), 'time')}" if result.hits else "not found"
    stated = ""
    if result.false_alarms is not None:
        stated = f"; of people who were never there {result.false_alarms:.0%} are found wrongly"
    return f"{found} {among} (similarity {result.threshold:.2f} or more{stated})"


def explain(uid: str, sightings: Sightings, settings: Settings, *, as_json: bool) -> None:
    """Print what was decided of a sighting, and on what evidence.

    Raises:
        UsageError: there is no such sighting.
    """
    one = sightings.get(uid)
    with Gallery(sightings.location, create="never") as gallery:
        evidence = evidence_of(one, sightings, gallery, settings)
    if as_json:
        print_json({"sighting": one.to_dict(), **evidence.to_dict()})
        return
    console = stdout()
    verdict = (one.verdict, STYLES[one.verdict])
    who = Text.assemble((printable(one.name), "bold"), " (", verdict, ")")
    console.print(Text(f"{when_of(one)}, {place_of(one)}: ").append(who))
    say(evidence.words)
    sigma = "never embedded" if one.clearest is None else f"sigma {one.clearest:.2f} at best"
    say(
        f"Evidence: {plural(one.faces, 'face')} in {one.end_pts - one.start_pts:.1f} s, "
        f"{one.looks} embedded; {sigma} (a name needs at most {evidence.max_sigma:.2f})"
    )
    if evidence.candidates:
        shown = table("Candidate now", "Similarity", right=("Similarity",))
        for person in evidence.candidates:
            shown.add_row(Text(printable(person.name)), f"{person.similarity:.2f}")
        console.print(shown)
    say(
        f"A name needs a similarity of {evidence.threshold:.2f} and a lead of "
        f"{evidence.margin:.2f} over the next person."
    )
    for each in evidence.history:
        undone = "; undone" if each.operation.undone else ""
        before, after = (_state(state) for state in (each.before, each.after))
        say(
            f"{local(each.operation.at)} {each.operation.who}: {before} → {after} "
            f"({each.cause}{undone})"
        )
    for kind, path in one.pictures.items():
        say(f"Picture ({kind}): {path}")


def _state(state: Mapping[str, Any]) -> str:
    """Who a sighting was, in words."""
    words = [printable(state["name"] or "unknown"), state["verdict"]]
    return ", ".join([*words, "ignored"] if state["ignored"] else words)


def _write_page(path: Path, photo: Path, result: SearchResult, sightings: Sightings) -> None:
    items = (
        item(
            [sighting_picture(sightings, hit.sighting)],
            when_of(hit.sighting),
            place_of(hit.sighting),
            f"{printable(hit.sighting.name)} · match {hit.similarity:.2f}",
        )
        for hit in result.hits
    )
    write_page(path, f"Where the face of {photo.name} was seen", _headline(result), items)
