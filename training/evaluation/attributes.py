"""Labels in the file names of pictures: UTKFace's age, gender and race, SCUT's gender.

These are the data sets' labels, guessed or given by others, in categories of their making; they
serve to look for unequal errors and for what embeddings reveal, and for nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..data.face_sets import FaceRow

GENDERS: Final = ("male", "female")
RACES: Final = ("White", "Black", "Asian", "Indian", "other")
# First years of the groups; the last is open.
AGES: Final = (0, 10, 20, 40, 60)
AGE_GROUPS: Final = ("0–9", "10–19", "20–39", "40–59", "60+")
NO_EXPRESSION: Final = (
    "expression: none of the sets labels it, so nothing is measured; a set whose names begin with "
    "the class would be probed the same way"
)

_UTKFACE = re.compile(r"(\d{1,3})_([01])_(?:([0-4])_)?\d+\.")
_SCUT = re.compile(r"([AC])([FM])\d+\.")


@dataclass(frozen=True, slots=True)
class Attributes:
    """Labels of one picture; None where the name has none.

    Attributes:
        gender: one of ``GENDERS``.
        age: one of ``AGE_GROUPS``.
        race: one of ``RACES``.
    """

    gender: str | None = None
    age: str | None = None
    race: str | None = None


def attributes_of(row: FaceRow) -> Attributes:
    """The labels in a picture's name; empty ones for sets without any."""
    stem = row.member.rsplit("/", 1)[-1]
    if row.dataset == "utkface" and (found := _UTKFACE.match(stem)):
        years, gender, race = found.groups()
        return Attributes(
            gender=GENDERS[int(gender)],
            age=age_group(int(years)),
            race=None if race is None else RACES[int(race)],
        )
    if row.dataset == "scut" and (found := _SCUT.match(stem)):
        origin, gender = found.groups()
        return Attributes(gender=GENDERS[gender == "F"], race="Asian" if origin == "A" else "White")
    return Attributes()


def age_group(years: int) -> str:
    """The group of ``AGE_GROUPS`` that an age in years falls into."""
    return AGE_GROUPS[sum(years >= first for first in AGES) - 1]
