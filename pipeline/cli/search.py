"""``facestream search`` and ``facestream why``: was this face here, and why (not) named."""

from __future__ import annotations

import base64
import html
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from facestream.engines.cards import load_card
from rich.text import Text

from ..analysis import FaceAnalyzer
from ..core.config import Settings
from ..core.errors import UsageError
from ..gallery import Gallery
from ..identity.grouping import open_grouping
from ..identity.search import open_matcher, open_thresholds
from ..recognition.encoder import DEFAULT_MODEL
from ..sightings import Sighting, Sightings
from ..sightings.search import SearchResult, SightingIndex
from ..sinks.files import write_whole
from ..storage.names import printable
from .console import plural, print_json, say, stdout, table
from .summary import reason_in_words
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
        UsageError: the photo shows no face.
        ImageError: it cannot be read.
        OutputError: the page cannot be written.
    """
    with FaceAnalyzer(settings).load() as analyzer:
        found = analyzer.analyze_batch([request.photo], keep="largest")[0]
        if found.faces.mu is None or not len(found):
            raise UsageError(f"{request.photo} shows no face; give a photo of one")
        rule = open_grouping(analyzer.encoder.card, settings.recognition)
        sigma = float(found.sigma[0])
        if sigma > rule.thresholds.max_sigma:
            log.warning(
                "%s shows the face too poorly (sigma %.2f) for a reliable search",
                request.photo, sigma,
            )  # fmt: skip
        index = SightingIndex(sightings, analyzer.model_id, rule)
        result = index.search(
            found.faces.mu[0],
            sigma=sigma,
            since=request.since,
            until=request.until,
            sources=request.sources,
            limit=request.limit,
        )
    if request.page is not None:
        _write_page(request.page, request.photo, result)
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
    card = load_card(DEFAULT_MODEL)
    rules = settings.for_source(one.source).recognition
    evidence: dict[str, Any] = {"max_sigma": open_thresholds(card, rules).max_sigma}
    mu = sightings.template(one.id) if one.model == card.id else None
    people = []
    with Gallery(sightings.path, create="never") as gallery:
        matcher = open_matcher(gallery, card, rules)
        evidence["threshold"] = round(matcher.threshold(), 4)
        evidence["margin"] = rules.margin
        if mu is not None:
            found = matcher.search(mu[None])[0]
            people = [
                {"person_id": int(person), "name": name, "similarity": round(float(similar), 4)}
                for person, name, similar in zip(
                    found.person_ids[0], found.names[0], found.similarities[0], strict=True
                )
                if person >= 0
            ]
    if as_json:
        print_json({"sighting": one.to_dict(), "candidates": people, **evidence})
        return
    console = stdout()
    verdict = (one.verdict, STYLES[one.verdict])
    who = Text.assemble((printable(one.name), "bold"), " (", verdict, ")")
    console.print(Text(f"{when_of(one)}, {place_of(one)}: ").append(who))
    say(_words(one))
    sigma = "never embedded" if one.clearest is None else f"sigma {one.clearest:.2f} at best"
    say(
        f"Evidence: {plural(one.faces, 'face')} in {one.end_pts - one.start_pts:.1f} s, "
        f"{one.looks} embedded; {sigma} (a name needs at most {evidence['max_sigma']:.2f})"
    )
    if people:
        shown = table("Candidate now", "Similarity", right=("Similarity",))
        for person in people:
            shown.add_row(Text(printable(str(person["name"]))), f"{person['similarity']:.2f}")
        console.print(shown)
    say(
        f"A name needs a similarity of {evidence['threshold']:.2f} and a lead of "
        f"{rules.margin:.2f} over the next person."
    )
    for kind, path in one.pictures.items():
        say(f"Picture ({kind}): {path}")


def _words(one: Sighting) -> str:
    if one.reason is None:
        return f"Named at a similarity of {one.similarity:.2f}."
    words = {
        "below_threshold": f"Nobody is similar enough: the best was {one.similarity:.2f}.",
        "uncertain": "The picture shows too little of the face.",
        "too_small": "The face is too small.",
        "ambiguous": "Two people are about equally similar.",
        "no_gallery": "Nobody was enrolled.",
        "taken": "The best person was in the same frame, more similar elsewhere.",
        "flat": "It moves as a picture of a face does.",
        "pending": "It left before it was searched.",
    }
    return words.get(one.reason, f"No name: {reason_in_words(one.reason, ())}.")


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1c1e21; background: #fff }
ol { list-style: none; padding: 0; display: grid; gap: 1rem;
     grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
li { border: 1px solid #d0d4da; border-radius: 6px; overflow: hidden }
img { width: 100%; height: 12rem; object-fit: contain; background: #f2f3f5; display: block }
p { margin: .4rem .6rem } .when { font-weight: 600 } .where { color: #555; overflow-wrap: anywhere }
"""


def _write_page(path: Path, photo: Path, result: SearchResult) -> None:
    """One HTML file with its pictures in it; it loads nothing."""
    items = []
    for hit in result.hits:
        one = hit.sighting
        picture = _data_url(one.pictures.get("frame"))
        image = f'<img alt="" src="{picture}">' if picture else ""
        items.append(
            f'<li>{image}<p class="when">{html.escape(when_of(one))}</p>'
            f'<p class="where">{html.escape(place_of(one))}</p>'
            f"<p>{html.escape(printable(one.name))} · match {hit.similarity:.2f}</p></li>"
        )
    title = html.escape(f"Where the face of {photo.name} was seen")
    made = local(datetime.now().astimezone())
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{html.escape(_headline(result))}. {made}</p><ol>{''.join(items)}</ol></html>\n"
    )
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def _data_url(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        log.warning("the picture %s is left out: %s", path, error.strerror)
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
