"""Names of files made from any text."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from facestream.pipeline.core.filenames import (
    NAME_BYTES,
    SPARE_BYTES,
    cut,
    graphemes,
    part_of,
    slug,
    with_parts,
)
from hypothesis import given
from hypothesis import strategies as st

ANY = st.text(st.characters(exclude_categories=()), max_size=120)
ODD = st.text(
    st.sampled_from("aé/\\.- _\0\n\u0301\u0303\u200d\u200c👩🏽🔬🇮🇸각\u1161名"), max_size=60
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ada Lovelace", "Ada-Lovelace"),
        ("rtsp://host/main", "rtsp-host-main"),
        ("../../etc/passwd", "etc-passwd"),
        ("Zoe\u0308", "Zoë"),
        ("हिन्दी", "हिन्दी"),
        ("x\u0303 y", "x\u0303-y"),
        ("👩🏽\u200d🔬 lab", "👩🏽\u200d🔬-lab"),
        ("🇮🇸", "🇮🇸"),
        ("a--b", "a--b"),
        ("-\u0301.", "unnamed"),
        ("\udcff\udcfe", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_letters_marks_and_emoji_stay(text: str, name: str) -> None:
    assert slug(text) == name


@given(st.one_of(ANY, ODD), st.integers(8, 120))
def test_a_slug_is_one_safe_name_of_at_most_so_many_bytes(text: str, room: int) -> None:
    name = slug(text, room=room)
    assert 0 < len(name.encode()) <= room
    assert not set(name) & set("/\\\0\n ")
    assert not name.startswith((".", "-"))
    assert name == unicodedata.normalize("NFC", name)
    assert slug(name, room=room) == name
    whole = slug(text, room=10_000)
    assert whole.startswith(name) or name == "unnamed"


@given(ODD, st.integers(0, 60))
def test_no_grapheme_is_split(text: str, room: int) -> None:
    clusters = list(graphemes(text))
    assert "".join(clusters) == text
    short = cut(text, room)
    assert len(os.fsencode(short)) <= room
    if clusters and len(os.fsencode(clusters[0])) <= room:
        assert list(graphemes(short)) == clusters[: len(list(graphemes(short)))]


@pytest.mark.parametrize("stem", ["a" * 251, "東京駅" * 27, "e\u0301" * 80, "seen"])
def test_names_with_parts_can_be_made_and_completed(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.mp4"
    path.touch()
    label = slug("東京駅の正面玄関カメラ" * 20)
    named = with_parts(path, label, "2026-11-30T10-00-00")
    assert len(os.fsencode(named.name)) <= NAME_BYTES - SPARE_BYTES
    assert named.name.endswith(f"-{label}-2026-11-30T10-00-00.mp4")
    for one in (named, part_of(named), part_of(path), named.with_stem(f"{named.stem}-1000000")):
        one.touch()
