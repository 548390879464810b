"""Whose faces are covered. What is not certain is decided for covering."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import ConfigError
from ..core.types import Verdict

Covering = Literal["all", "keep", "only", "unknown"]


@dataclass(frozen=True, slots=True)
class RedactionChoice:
    """Whose faces are covered; by default everybody's.

    Attributes:
        keep: everybody but these people.
        only: these people. A face that may be theirs (verdict ``unsure``) is covered, too.
        unknown: everybody without a name; together with ``only`` both.
        show_unsure: with ``only``: a face that shows too little to say whose it is stays.

    Raises:
        ConfigError: ``keep`` together with another choice.
    """

    keep: frozenset[str] = field(default_factory=frozenset)
    only: frozenset[str] = field(default_factory=frozenset)
    unknown: bool = False
    show_unsure: bool = False

    def __post_init__(self) -> None:
        if self.keep and (self.only or self.unknown):
            raise ConfigError(
                "--keep covers everybody else already; leave --only and --unknown out"
            )
        if self.show_unsure and not self.only:
            raise ConfigError("showing unsure faces is for --only; leave it out")

    @property
    def everybody(self) -> bool:
        """Nobody has to be recognised."""
        return not (self.keep or self.only or self.unknown)

    @property
    def names(self) -> frozenset[str]:
        """The people who are named in it."""
        return self.keep | self.only

    def covers(self, name: str | None, verdict: Verdict, *, followed_as: Collection[str]) -> bool:
        """Whether a face is covered.

        Args:
            name: the person's, where it is certain.
            verdict: of the face.
            followed_as: names that the same track had at any time.
        """
        if self.everybody:
            return True
        if self.keep:
            return name not in self.keep
        if self.unknown and name is None:
            return True
        if not self.only:
            return False
        if name is not None:
            return name in self.only
        # The track was theirs, or this picture says too little to exclude them.
        theirs = not self.only.isdisjoint(followed_as)
        return theirs or (verdict == "unsure" and not self.show_unsure)
