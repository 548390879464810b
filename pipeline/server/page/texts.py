"""The texts of the page in the viewer's language (gettext), and the viewer's time zone."""

from __future__ import annotations

from datetime import UTC, tzinfo
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from starlette.requests import Request

from ...sightings import Sighting

LOCALES: Final = Path(__file__).parent / "locale"
LANGUAGES: Final = {"en": "English", "de": "Deutsch"}
"""Each but English has ``locale/CODE.po`` and its compiled form ``CODE.mo``."""
LANGUAGE_COOKIE: Final = "facestream-language"
ZONE_COOKIE: Final = "facestream-zone"


def N_(text: str) -> str:
    """Mark a text that is translated where it is shown."""
    return text


VERDICTS: Final = {"known": N_("Known"), "stranger": N_("Stranger"), "unsure": N_("Cannot tell")}
REASONS: Final = {
    "uncertain": N_("The picture shows too little of the face."),
    "too_small": N_("The face is too small."),
    "ambiguous": N_("Two people are about equally similar."),
    "no_gallery": N_("Nobody was enrolled."),
    "taken": N_("The best person was in the same frame, more similar elsewhere."),
    "flat": N_("It moves as a picture of a face does."),
    "corrected": N_("A human took the name away."),
    "removed": N_("The person was removed."),
    "pending": N_("It left before it was searched."),
    "below_threshold": N_("Nobody who is enrolled is similar enough."),
}
FINDINGS: Final = {
    "look_alike": N_("Resembles somebody else"),
    "other_person": N_("Resembles another person more than this one"),
    "outlier": N_("Does not resemble the other photos"),
    "uncertain": N_("Shows too little of the face"),
    "duplicate": N_("The same picture as another photo"),
    "few_photos": N_("Add photos: fewer than two are enrolled"),
    "similar_photos": N_("All photos are nearly alike: add different ones"),
}
STATES: Final = {
    "connecting": N_("connecting"),
    "live": N_("live"),
    "stalled": N_("stalled"),
    "retrying": N_("tries again"),
    "paused": N_("paused"),
    "ended": N_("ended"),
    "failed": N_("failed"),
}


@cache
def catalogue(language: str) -> NullTranslations:
    """The texts of a language; of English as they are in the sources."""
    if language == "en":
        return NullTranslations()
    with (LOCALES / f"{language}.mo").open("rb") as file:
        return GNUTranslations(file)


def language_of(request: Request) -> str:
    """The language that was chosen, else the first one of the browser that there is."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    wanted = [chosen, *request.headers.get("accept-language", "").split(",")]
    for one in wanted:
        code = one.strip().partition(";")[0].partition("-")[0].lower()
        if code in LANGUAGES:
            return code
    return "en"


def zone_of(request: Request) -> tzinfo:
    """The viewer's time zone, which the page's script says; UTC before."""
    try:
        return ZoneInfo(request.cookies.get(ZONE_COOKIE, "UTC"))
    except (KeyError, OSError, ValueError):  # it is not known here, or is no name of a zone
        return UTC


def reason_of(one: Sighting) -> str:
    """Why a sighting has its name or none, in English, to be translated."""
    if one.fixed and one.person_id is not None:
        return N_("A human gave the name.")
    if one.reason is None:
        return N_("The face is similar enough to the person's photos.")
    return REASONS.get(one.reason, N_("No name."))
