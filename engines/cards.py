"""Model cards: what a network's tensors mean, where it comes from, and its checksum."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from math import log
from pathlib import Path
from statistics import NormalDist
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ModelError

MODELS = Path(__file__).parent / "models"
"""Where the networks that ship are kept."""


class StrictModel(BaseModel):
    """Immutable, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorCard(StrictModel):
    """An input or output: its name in the graph, shape (None = any length), dtype and layout."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    layout: str = ""


class Calibration(StrictModel):
    """Logistic map of a similarity to a probability: ``1 / (1 + exp(-(slope*s + intercept)))``."""

    slope: float
    intercept: float


class FalseMatches(StrictModel):
    """How similar strangers are: the threshold of each false-match rate.

    Attributes:
        rates: false-match rates of one comparison, falling, 0..1.
        similarities: the threshold of each, rising, −1..1.
        basis: the pairs that were compared.
        fit: how the thresholds follow from them.
    """

    rates: tuple[float, ...] = Field(min_length=2)
    similarities: tuple[float, ...]
    basis: str
    fit: str

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if len(self.rates) != len(self.similarities):
            raise ValueError("rates and similarities must be as many")
        if not all(0 < rate < 1 for rate in self.rates):
            raise ValueError("a false-match rate lies between 0 and 1")
        if list(self.rates) != sorted(set(self.rates), reverse=True):
            raise ValueError("rates must fall")
        if list(self.similarities) != sorted(set(self.similarities)):
            raise ValueError("similarities must rise")
        return self

    def similarity(self, rate: float) -> float:
        """The threshold of a false-match rate, 0 < rate < 1, at most 1.

        Between the rates of the table, and beyond its ends, it is a straight line over the
        normal deviate of the rate: exact where strangers' similarities are Gaussian.
        """
        deviates = [-NormalDist().inv_cdf(known) for known in self.rates]
        wanted = -NormalDist().inv_cdf(rate)
        inside = sum(deviate <= wanted for deviate in deviates)
        right = min(max(inside, 1), len(deviates) - 1)
        low, high = self.similarities[right - 1 : right + 1]
        share = (wanted - deviates[right - 1]) / (deviates[right] - deviates[right - 1])
        return min(low + share * (high - low), 1.0)


class StrangerLimits(StrictModel):
    """From where a face is surely none of the people it was compared with.

    The more photos a stranger is compared with, the more similar is the best of them by chance,
    and an enrolled person, too, is rarely below that; the poorer the picture, the less similar is
    an enrolled person. So the limit of similarity rises with the photos and falls with sigma.

    Attributes:
        similarity: to the best of them, at most, −1..1, where there is no table.
        sigma: of its surest embedding, at most: a poor picture resembles nobody.
        photos: numbers of photos, rising. sigmas: rising. similarities: the limit for each number
            of photos (rows) and sigma (columns).
        enrolled: share of enrolled people within the limits, 0..1.
        strangers: share of strangers within the limits, 0..1.
        basis: what was measured.
    """

    similarity: float = Field(ge=-1, le=1)
    sigma: float = Field(gt=0)
    photos: tuple[int, ...] = ()
    sigmas: tuple[float, ...] = ()
    similarities: tuple[tuple[float, ...], ...] = ()
    enrolled: float = Field(ge=0, le=1)
    strangers: float = Field(ge=0, le=1)
    basis: str

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for axis in (self.photos, self.sigmas):
            if list(axis) != sorted(set(axis)) or any(value <= 0 for value in axis):
                raise ValueError("the photos and sigmas of a table must rise from above 0")
        shape = [len(self.sigmas)] * len(self.photos)
        if [len(row) for row in self.similarities] != shape or bool(self.photos) != bool(
            self.sigmas
        ):
            raise ValueError("a table has a row for each number of photos, a column for each sigma")
        return self

    def limit(self, sigma: float, photos: int) -> float:
        """The similarity up to which a face is surely a stranger's; −1 where sigma says too little.

        Between the table's entries it is a straight line over sigma and over the logarithm of the
        number of photos; outside them it stays as at the border.
        """
        if not sigma <= self.sigma:
            return -1.0
        if not self.photos:
            return self.similarity
        rows = [_interpolated(sigma, self.sigmas, row) for row in self.similarities]
        return _interpolated(log(max(photos, 1)), [log(count) for count in self.photos], rows)


def _interpolated(at: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """A straight line between points with rising ``xs``; level outside them."""
    right = bisect_left(xs, at)
    if right == 0 or right == len(xs):
        return ys[min(right, len(xs) - 1)]
    share = (at - xs[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + share * (ys[right] - ys[right - 1])


class CalibratedThresholds(StrictModel):
    """The similarity from which two faces count as one person.

    Attributes:
        similarity: cosine, −1..1.
        fmr: the false-match rate it was chosen for, 0..1.
        basis: the pairs it was chosen on.
        probability: from similarity to the probability of being the same person.
        false_matches: thresholds of other rates, for a search over many.
        stranger: from where a face is surely a stranger's.
    """

    similarity: float = Field(ge=-1, le=1)
    fmr: float = Field(ge=0, le=1)
    basis: str
    probability: Calibration | None = None
    false_matches: FalseMatches | None = None
    stranger: StrangerLimits | None = None


class ModelCard(StrictModel):
    """What a user of a network needs to know.

    Attributes:
        name: file stem.
        id: changes whenever the outputs do; stored with every embedding.
        file: the network, beside the card.
        sha256: of ``file``, in hex.
        task: ``detection``, ``embedding``, …
        description: one or two sentences.
        inputs: in the graph's order.
        outputs: in the graph's order.
        preprocessing: colour order, range, and who normalises.
        source: where the weights come from.
        licence: SPDX identifier, or the terms in words.
        notice_file: the notice beside the card, where the licence asks for one.
        training_data: the sets and their terms.
        excluded: what was kept out of training, and why.
        metrics: name to value, as measured on ``file``.
        thresholds: for a recogniser.
        encoder: ``id`` of the encoder that a cohort or a decoder belongs to.
        created: ISO 8601 date.
    """

    name: str
    id: str
    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    task: str
    description: str
    inputs: tuple[TensorCard, ...]
    outputs: tuple[TensorCard, ...]
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    source: str
    licence: str
    notice_file: str | None = None
    training_data: tuple[str | dict[str, Any], ...] = ()
    excluded: Any = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    thresholds: CalibratedThresholds | None = None
    encoder: str | None = None
    created: str


def list_cards() -> list[ModelCard]:
    """The cards that ship, by name; raises like ``read_card``."""
    return [load_card(path.stem) for path in sorted(MODELS.glob("*.json"))]


def load_card(name: str) -> ModelCard:
    """The card of a network that ships, e.g. ``mtcnn_pnet``; raises like ``read_card``."""
    return read_card(MODELS / f"{name}.json")


def read_card(path: Path) -> ModelCard:
    """A card from a file.

    Raises:
        ModelError: the file is missing or is not a model card; names the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise ModelError(f"no model card {path}; there: {known}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the model card {path}: {error}") from error
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"bad model card {path}: {where}: {first['msg']}") from error


def model_path(name: str) -> Path:
    """The network of that name, verified; raises like ``load_card`` and ``verify``."""
    return verify(load_card(name), MODELS)


def verify(card: ModelCard, folder: Path) -> Path:
    """The card's network in ``folder``.

    Raises:
        ModelError: it is missing or its checksum differs from the card's.
    """
    path = folder / card.file
    try:
        found = checksum(path)
    except FileNotFoundError:
        raise ModelError(
            f"no model file at {path}; reinstall facestream or give another path"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read the model file {path}: {error}") from error
    if found != card.sha256:
        raise ModelError(
            f"{path} is damaged or was replaced: its SHA-256 is {found[:12]}…, "
            f"its card says {card.sha256[:12]}…; reinstall facestream"
        )
    return path


def checksum(path: Path) -> str:
    """SHA-256 of a file in hex, computed once while it does not change; OSError if unreadable."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    # Size and time are in the key so that a file changed under a running process is read again.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quantised_file(path: Path) -> Path:
    """The int8 version beside a network: ``vae_encoder.int8.xml``, its weights in ``….bin``."""
    return path.with_suffix(".int8.xml")


def digest(path: Path, precision: str) -> str:
    """Checksum of all files an engine of this network uses; OSError where one cannot be read."""
    found = checksum(path)
    if precision != "int8":
        return found
    graph = quantised_file(path)
    return f"{found}-{checksum(graph)}-{checksum(graph.with_suffix('.bin'))}"
