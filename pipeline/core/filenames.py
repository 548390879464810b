"""Names of files made from text: of sources, of people."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

NAME_BYTES = 255
"""Longest file name, in bytes, on the usual file systems."""
SPARE_BYTES = 24
"""Left free in a name for a number, a suffix and the marks of a partial file."""
SLUG_BYTES = 90

_ZWJ = "\u200d"
_JOINERS = "\u200c" + _ZWJ


def readable(name: str) -> str:
    """A file's name as text: bytes that are not UTF-8 become ``\ufffd``.

    Where the locale is not UTF-8 either (``LC_ALL=C``), UTF-8 names are read as such.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def slug(text: str, *, room: int = SLUG_BYTES) -> str:
    """A name that is safe in a file name: letters, digits, marks, emoji, ``.``, ``_`` and ``-``.

    NFC, at most ``room`` bytes in UTF-8, cut between two characters as readers see them. Where the
    locale's file names lack a character (``LC_ALL=C``), ``-`` stands for it.
    """
    kept: list[str] = []
    replaced = False
    for cluster in graphemes(unicodedata.normalize("NFC", text)):
        safe = _safe(cluster[0]) and _encodable(cluster)
        if safe:
            # A mark on a hyphen or a dot would keep it from being stripped below.
            kept.append(cluster[0] if cluster[0] in "-." else cluster)
        elif not replaced:
            kept.append("-")
        replaced = not safe
    name = cut("".join(kept).strip("-."), room)
    return name.rstrip("-." + _JOINERS) or "unnamed"


def cut(text: str, room: int) -> str:
    """The beginning of a text, at most ``room`` bytes long, with whole graphemes.

    A single longer grapheme (a letter with many marks) is cut between code points.
    """
    if len(os.fsencode(text)) <= room:
        return text
    end = used = 0
    for cluster in graphemes(text):
        used += len(os.fsencode(cluster))
        if used > room:
            break
        end += len(cluster)
    return text[:end] or os.fsencode(text)[:room].decode("utf-8", "ignore")


def with_parts(path: Path, *parts: str) -> Path:
    """``<stem>-<part>-…<suffix>``, the stem cut where the name would be too long."""
    tail = "".join(f"-{part}" for part in parts) + path.suffix
    room = NAME_BYTES - SPARE_BYTES - len(os.fsencode(tail))
    return path.with_name(cut(path.stem, max(room, 1)) + tail)


def part_of(path: Path) -> Path:
    """The name, in the same folder, under which a file is written before it is complete."""
    return path.with_name(f".{cut(path.name, NAME_BYTES - SPARE_BYTES)}.part")


def lock_of(path: Path) -> Path:
    """The name of the file, in the same folder, that is locked while ``path`` is written."""
    return path.with_name(f".{cut(path.name, NAME_BYTES - SPARE_BYTES)}.lock")


def graphemes(text: str) -> Iterator[str]:
    """Characters as readers see them, as far as the standard library tells them apart.

    A letter with its marks, an emoji sequence, a flag and a Hangul syllable are one each.
    """
    cluster = ""
    for char in text:
        if cluster and not _extends(cluster, char):
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster


def _safe(char: str) -> bool:
    return char.isalnum() or char in "._-" or unicodedata.category(char) == "So"


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _extends(cluster: str, char: str) -> bool:
    if unicodedata.category(char).startswith("M") or char in _JOINERS:
        return True
    if "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":
        return True  # skin tones; the letters of a flag's tag
    if "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff":
        return True  # vowels and final consonants of Hangul
    if _regional(char):
        return len(cluster) == 1 and _regional(cluster)
    return cluster[-1] == _ZWJ and unicodedata.category(char) == "So"


def _regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
