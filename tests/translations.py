"""The texts of the page: what the sources have, and catalogues that are brought up to date.

`make translations` runs this file.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PAGE = Path(__file__).parents[1] / "pipeline" / "server" / "page"


def in_sources() -> Catalog:
    """All texts that are marked."""
    found = Catalog(fuzzy=False)
    extracted = extract_from_dir(
        PAGE,
        [("**.py", "python"), ("templates/**.html", "jinja2")],
        options_map={"templates/**.html": {"newstyle_gettext": "true", "silent": "false"}},
        keywords={"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)},
    )
    for file, _, message, _, _ in extracted:
        found.add(message, locations=[(file, 0)])
    return found


def catalogue(language: str) -> Catalog:
    """A ``.po`` as it is."""
    with (PAGE / "locale" / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


def compiled(texts: Catalog) -> bytes:
    """The ``.mo`` of a catalogue."""
    out = BytesIO()
    write_mo(out, texts)
    return out.getvalue()


def bring_up_to_date(language: str) -> None:
    """Take new texts in, drop old ones, and compile."""
    texts = catalogue(language)
    texts.update(in_sources(), no_fuzzy_matching=True)
    texts.obsolete.clear()
    with (PAGE / "locale" / f"{language}.po").open("wb") as file:
        write_po(file, texts, sort_output=True, include_lineno=False, omit_header=False)
    (PAGE / "locale" / f"{language}.mo").write_bytes(compiled(texts))


if __name__ == "__main__":
    for one in sorted((PAGE / "locale").glob("*.po")):
        bring_up_to_date(one.stem)
