"""Names: one spelling is kept, another spelling of it is the same person."""

from __future__ import annotations

import unicodedata

import pytest
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.storage.names import name_key, normalise_name, printable, suggestions
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("  Ann ", "Ann"),
        ("Jose\u0301", "José"),
        ("Ann \u00a0 Lee", "Ann Lee"),
        ("李小龙", "李小龙"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("../x", "../x"),
        ("Robert'); DROP TABLE people;--", "Robert'); DROP TABLE people;--"),
        ("می\u200cرود", "می\u200cرود"),
    ],
)
def test_kept_spelling(given_name: str, kept: str) -> None:
    assert normalise_name(given_name) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "\u200d",
        "a\nb",
        "a\tb",
        "\x1b[31mred",
        "a\u202eb",
        "zero\u200bwidth",
        "\udcff",
        "x" * 201,
        "x" * 10_000 + "\n",
        "Unknown",
        "un\u200dknown",
        "\u3164",
        "Ann\u2800Lee",
        "\u2066Ann\u2069",
    ],
)
def test_refused(name: str) -> None:
    with pytest.raises(GalleryError) as caught:
        normalise_name(name)
    message = str(caught.value)
    assert message.isprintable() or "\u200d" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE", "straße"),
        ("JOSÉ", "jose\u0301"),
        ("ann lee", "Ann  Lee"),
        ("ann lee", "Ann\u2009\u3000Lee"),
        ("Ann", "A\u200dnn"),
        ("میرود", "می\u200cرود"),
        ("Ann", "Ａｎｎ"),
        ("ｱﾝ", "アン"),
        ("葛城", "葛\U000e0100城"),
        ("❤", "❤\ufe0f"),
        ("a\u0323\u0307", "a\u0307\u0323"),
    ],
)
def test_same_person(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_accents_are_different_people() -> None:
    assert name_key("Jose") != name_key("José")


def accepted(name: str) -> str | None:
    try:
        return normalise_name(name)
    except GalleryError:
        return None


@given(st.text(max_size=60))
def test_normalising_is_idempotent_and_keeps_the_key(name: str) -> None:
    kept = accepted(name)
    if kept is None:
        return
    assert accepted(kept) == kept
    assert name_key(kept) == name_key(name)
    assert name_key(name_key(kept)) == name_key(kept)
    assert unicodedata.is_normalized("NFC", kept)
    kept.encode("utf-8")


@given(st.text(max_size=60))
def test_printable_is_printable(text: str) -> None:
    shown = printable(text).replace("\u200c", "").replace("\u200d", "")
    assert shown == "" or shown.isprintable()


def test_suggestions() -> None:
    assert suggestions("obma", ["Obama", "Leslie"]) == ["Obama"]
    assert suggestions("zzz", ["Obama"]) == []
