"""Names of people: which are allowed, and when two are the same."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from facestream.engines.errors import printable as printable

from ..core.errors import GalleryError

MAX_LENGTH = 200
# The word in events and pictures for a face without a name.
RESERVED = "unknown"
# Zero-width joiner and non-joiner: invisible, but Persian and the Indic scripts spell with them.
_JOINERS = "\u200c\u200d"
# They choose the shape of the character before: of emoji, and of kanji in Japanese names.
_SELECTORS = frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
# Letters and marks that show nothing: fillers of Hangul, Khmer and Mongolian, the empty braille
# pattern, the grapheme joiner.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0")
# Control, format (also the bidirectional overrides), surrogate, unassigned, line, paragraph.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_SHOWN = 60


def normalise_name(name: str) -> str:
    """The name in the form that is stored: NFC, stripped, single spaces inside.

    Raises GalleryError if it is empty, longer than 200 characters, reserved (``unknown``), or holds
    control, invisible or blank characters.
    """
    text = unicodedata.normalize("NFC", name).strip()
    for char in text:
        refused = char in _BLANK or unicodedata.category(char) in _REFUSED
        if refused and char not in _JOINERS:
            raise GalleryError(
                f"the name '{shortened(name)}' has the character U+{ord(char):04X}, which cannot "
                "be part of a name; remove it"
            )
    # After the check: str.split also takes control characters for space.
    text = " ".join(text.split())
    if not name_key(text):
        raise GalleryError("a name cannot be empty; give at least one letter")
    if len(text) > MAX_LENGTH:
        raise GalleryError(f"the name has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    if name_key(text) == RESERVED:
        raise GalleryError(
            f"nobody can be called '{text}': that word stands for a face without a name"
        )
    return text


def name_key(name: str) -> str:
    """Names with the same key are one person's.

    Unicode's NFKC_Casefold with one space for several: letter case, the order of marks, wide and
    narrow forms, kinds of spaces and characters without a width make no difference.
    """
    text = name
    # Twice: composing can make letters that have a lower case.
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text).casefold()
        text = "".join(char for char in text if not _invisible(char))
        text = unicodedata.normalize("NFKC", " ".join(text.split()))
    return text


def _invisible(char: str) -> bool:
    return char in _BLANK or char in _SELECTORS or unicodedata.category(char) == "Cf"


def suggestions(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of ``known`` that are spelled like ``name``, nearest first."""
    if len(name) > MAX_LENGTH:
        return []
    by_key = {name_key(other): other for other in known}
    return [by_key[key] for key in difflib.get_close_matches(name_key(name), by_key, n=3)]


def shortened(name: str) -> str:
    """``printable``, cut where it is far too long for a message."""
    text = printable(name[: MAX_LENGTH + 1])
    return text if len(text) <= MAX_LENGTH else f"{text[:_SHOWN]}…"
