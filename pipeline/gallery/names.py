"""Names of people: which are allowed, and when two are the same."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from ..core.errors import GalleryError

MAX_LENGTH = 200
# The word in events and pictures for a face without a name.
RESERVED = "unknown"
# Zero-width joiner and non-joiner: invisible, but Persian and the Indic scripts spell with them.
_JOINERS = "\u200c\u200d"
# Control, format (also the bidirectional overrides), surrogate, unassigned, line, paragraph.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})


def normalise_name(name: str) -> str:
    """The name in the form that is stored: NFC, stripped, single spaces inside.

    Raises GalleryError if it is empty, longer than 200 characters, reserved (``unknown``), or holds
    control or invisible characters.
    """
    text = unicodedata.normalize("NFC", name).strip()
    for char in text:
        if char not in _JOINERS and unicodedata.category(char) in _REFUSED:
            raise GalleryError(
                f"the name '{printable(name)}' has the character U+{ord(char):04X}, which cannot "
                "be part of a name; remove it"
            )
    # After the check: str.split also takes control characters for space.
    text = " ".join(text.split())
    if not text.strip(_JOINERS + " "):
        raise GalleryError("a name cannot be empty; give at least one letter")
    if len(text) > MAX_LENGTH:
        raise GalleryError(f"the name has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    if name_key(text) == RESERVED:
        raise GalleryError(
            f"nobody can be called '{text}': that word stands for a face without a name"
        )
    return text


def name_key(name: str) -> str:
    """Names with the same key are one person's (caseless, canonical)."""
    text = " ".join(unicodedata.normalize("NFD", name).casefold().split())
    return unicodedata.normalize("NFC", text)


def suggestions(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of ``known`` that are spelled like ``name``, nearest first."""
    by_key = {name_key(other): other for other in known}
    return [by_key[key] for key in difflib.get_close_matches(name_key(name), by_key, n=3)]


def printable(text: str) -> str:
    """The text on one line, with escapes for characters that control a terminal.

    Names of files can hold newlines, escape sequences and bytes that are not UTF-8.
    """
    return "".join(
        char
        if char.isprintable() or char in _JOINERS
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )
