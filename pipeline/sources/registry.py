"""Which opener serves a source: the built-in ones, and those of other packages.

Another package registers an opener (such as a subclass of `BaseSource`) as an entry point of the
group ``facestream.sources``, named after the scheme of its URLs; see ``docs/extending.md``.
"""

from __future__ import annotations

from functools import partial

from ..core.errors import SourceError
from ..core.registry import Registry
from .allowed import SCHEMES
from .base import Source, SourceOpener, SourceOptions, SourceSpec

SOURCES: Registry[[SourceSpec, SourceOptions], Source] = Registry(
    "source", "facestream.sources", error=partial(SourceError, retry="never")
)
"""Openers of other packages, by scheme."""

# Entry points are not searched for these.
_BUILT_IN = frozenset({"file", *SCHEMES})


def find_opener(url: str) -> SourceOpener | None:
    """The opener that another package registers for the scheme of a URL; None: it is opened here.

    Raises:
        SourceError: the entry point cannot be loaded.
    """
    scheme = url.partition("://")[0].lower()
    return SOURCES.load(scheme) if scheme not in _BUILT_IN and scheme in SOURCES else None
