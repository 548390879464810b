"""Few-shot identification: do samples of the VAE's posterior make a better classifier?

Some pictures of each person are templates, the others probes. A classifier learns from the
templates alone, from the templates with samples mu + eps·sigma of their posteriors, or (the
control) with noise of the same mean size in all directions and at all pictures. If the control
helps as much, it is not sigma that helps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from facestream.pipeline.core.types import Floats
from facestream.pipeline.recognition.uncertainty import direction, fuse, mutual_likelihood_matrix
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ..errors import DataError
from .protocol import Interval

Condition = Literal["clean", "degraded probes", "all degraded"]
Augmentation = Literal["none", "posterior", "isotropic"]
Classifier = Literal["logistic", "svm"]
Labels = NDArray[np.int64]
CONDITIONS: Final[tuple[Condition, ...]] = get_args(Condition)
AUGMENTATIONS: Final[tuple[Augmentation, ...]] = get_args(Augmentation)
CLASSIFIERS: Final[tuple[Classifier, ...]] = get_args(Classifier)
NEAREST: Final = ("nearest mean", "nearest precision-weighted", "mutual likelihood")
SHOTS: Final = (1, 2, 5)
# Strengths tried on the people set apart; the inputs have length √D.
_STRENGTHS: Final = (1e-4, 1e-3, 1e-2)

# (what, done, total)
Progress = Callable[[str, int, int], None]


def _silent(what: str, done: int, total: int) -> None:
    """The default progress: none."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Embedded pictures, each as it is and degraded.

    Attributes:
        person: N labels.
        mu: 2×N×D: of the clean and of the degraded pictures.
        logvar: 2×N×D.
    """

    person: Labels
    mu: Floats
    logvar: Floats

    def __post_init__(self) -> None:
        if self.mu.shape != self.logvar.shape or self.mu.shape[:2] != (2, len(self.person)):
            raise ValueError(
                f"mu and logvar must be 2×N×D with N = {len(self.person)}, not {self.mu.shape} "
                f"and {self.logvar.shape}"
            )

    def of(self, people: Labels) -> Pictures:
        """The pictures of these people."""
        rows = np.isin(self.person, people)
        return Pictures(self.person[rows], self.mu[:, rows], self.logvar[:, rows])


@dataclass(frozen=True, slots=True)
class Settings:
    """How the experiment is run.

    Attributes:
        shots: templates a person.
        draws: random choices of people, templates and noise.
        people: drawn each time.
        samples: of each template.
        tuning_draws: for the classifiers' strength, on people that are not reported on.
        seed: of everything.
    """

    shots: tuple[int, ...] = SHOTS
    draws: int = 20
    people: int = 50
    samples: int = 5
    tuning_draws: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        condition: what was degraded.
        shots: templates a person.
        method: a name in ``NEAREST``, or ``<classifier>, <augmentation>``.
        rank_one: share of probes identified, with its 95 % interval over the draws.
        gain: over the same classifier without augmentation (for the nearest-template methods:
            over the nearest mean), in each draw the same templates and probes.
        strength: C of the classifier, None where there is none.
    """

    condition: Condition
    shots: int
    method: str
    rank_one: Interval
    gain: Interval
    strength: float | None


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """Templates and probes of one draw; ``samples`` are rows of templates, repeated."""

    mu: Floats
    logvar: Floats
    label: Labels
    probe_mu: dict[Condition, Floats]
    probe_logvar: dict[Condition, Floats]
    probe_label: Labels


def few_shot(
    reported: Pictures, tuning: Pictures, settings: Settings, *, progress: Progress = _silent
) -> list[Row]:
    """The table.

    Args:
        reported: pictures of the people to report on, more than the most shots of each.
        tuning: pictures of other people, on whom the classifiers' strength is chosen.
        settings: see ``Settings``.
        progress: told (what, done, total).

    Raises:
        DataError: too few people or pictures.
    """
    _check(reported, tuning, settings)
    total = len(settings.shots) * 2 * settings.draws
    rows: list[Row] = []
    done = 0
    for shots in settings.shots:
        for degraded in (False, True):
            strengths = _tune(tuning, settings, shots, degraded)
            found: dict[tuple[Condition, str], list[float]] = {}
            for number in range(settings.draws):
                draw = _draw(reported, settings, shots, degraded, number)
                for key, value in _measure(draw, settings, strengths, number):
                    found.setdefault(key, []).append(value)
                done += 1
                progress("few-shot draws", done, total)
            rows += [
                Row(
                    condition=condition,
                    shots=shots,
                    method=method,
                    rank_one=_share(mean_interval(values)),
                    gain=mean_interval(np.subtract(values, found[condition, base_of(method)])),
                    strength=strengths.get(method),
                )
                for (condition, method), values in found.items()
            ]
    order = {condition: i for i, condition in enumerate(CONDITIONS)}
    return sorted(rows, key=lambda row: (order[row.condition], row.shots))


def base_of(method: str) -> str:
    """What a method's gain is measured against."""
    return NEAREST[0] if method in NEAREST else f"{method.split(',')[0]}, none"


def mean_interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """The mean with its 95 % interval (Student's t over the draws)."""
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    half = 0.0
    if len(array) > 1:
        half = float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5)
    return Interval(mean, mean - half, mean + half)


def _share(interval: Interval) -> Interval:
    """An interval of a share ends at 0 and 1."""
    return Interval(interval.value, max(0.0, interval.low), min(1.0, interval.high))


def augment(
    mu: Floats,
    logvar: Floats,
    *,
    how: Augmentation,
    samples: int,
    rng: np.random.Generator,
) -> Floats:
    """Samples about each template, at the templates' length.

    Args:
        mu: N×D at length √D (``direction``).
        logvar: N×D.
        how: ``posterior`` draws mu + eps·sigma; ``isotropic`` adds noise of one size, the root
            mean square of all the sigmas; ``none`` gives no samples.
        samples: of each template.
        rng: draws eps.

    Returns:
        (N·samples)×D, those of a template in a row; 0×D for ``none``.
    """
    if how == "none":
        return mu[:0]
    variance = np.exp(np.asarray(logvar, np.float64))
    spread = np.sqrt(variance if how == "posterior" else np.full_like(variance, variance.mean()))
    noise = rng.standard_normal((len(mu), samples, mu.shape[1]))
    drawn = mu[:, None] + noise * spread[:, None]
    return direction(drawn.reshape(-1, mu.shape[1]))


def _check(reported: Pictures, tuning: Pictures, settings: Settings) -> None:
    for name, pictures in (("reported", reported), ("tuning", tuning)):
        people, counts = np.unique(pictures.person, return_counts=True)
        enough = int((counts > max(settings.shots)).sum())
        if enough < min(settings.people, 2) or enough < len(people):
            raise DataError(
                f"{name}: {len(people)} people, {enough} of them with more than "
                f"{max(settings.shots)} pictures; all need that many, and two people are the least"
            )
    if settings.draws < 2:
        raise DataError("an interval needs at least 2 draws")


def _draw(pictures: Pictures, settings: Settings, shots: int, degraded: bool, number: int) -> _Draw:
    rng = np.random.default_rng((settings.seed, shots, number))
    people = rng.permutation(np.unique(pictures.person))[: settings.people]
    templates, probes = [], []
    for person in people:
        rows = rng.permutation(np.flatnonzero(pictures.person == person))
        templates.append(rows[:shots])
        probes.append(rows[shots:])
    t, p = np.concatenate(templates), np.concatenate(probes)
    mu = np.stack([direction(side) for side in pictures.mu])
    sides: dict[Condition, int]
    sides = {"all degraded": 1} if degraded else {"clean": 0, "degraded probes": 1}
    side = int(degraded)
    return _Draw(
        mu=mu[side, t],
        logvar=pictures.logvar[side, t],
        label=pictures.person[t],
        probe_mu={name: mu[i, p] for name, i in sides.items()},
        probe_logvar={name: pictures.logvar[i, p] for name, i in sides.items()},
        probe_label=pictures.person[p],
    )


def _measure(
    draw: _Draw, settings: Settings, strengths: dict[str, float], number: int
) -> Iterator[tuple[tuple[Condition, str], float]]:
    """Rank-1 of every method in one draw."""
    for condition, mu in draw.probe_mu.items():
        for method, guess in _nearest(draw, mu, draw.probe_logvar[condition]).items():
            yield (condition, method), float((guess == draw.probe_label).mean())
    for how in AUGMENTATIONS:
        x, y = _training_set(draw, settings, how, number)
        for classifier in CLASSIFIERS:
            method = f"{classifier}, {how}"
            model = _fit(classifier, x, y, strengths[method])
            for condition, mu in draw.probe_mu.items():
                right = np.asarray(model.predict(mu)) == draw.probe_label
                yield (condition, method), float(right.mean())


def _nearest(draw: _Draw, probes: Floats, logvar: Floats) -> dict[str, Labels]:
    """Guesses of the methods that learn nothing."""
    people = np.unique(draw.label)
    mean, fused, fused_logvar = [], [], []
    for person in people:
        rows = draw.label == person
        mean.append(draw.mu[rows].mean(axis=0))
        mu, variance = fuse(draw.mu[rows], draw.logvar[rows])
        fused.append(mu)
        fused_logvar.append(variance)
    weighted = direction(np.stack(fused))
    likelihood = mutual_likelihood_matrix(probes, logvar, weighted, np.stack(fused_logvar))
    scores = (probes @ direction(np.stack(mean)).T, probes @ weighted.T, likelihood)
    return {name: people[s.argmax(axis=1)] for name, s in zip(NEAREST, scores, strict=True)}


def _training_set(
    draw: _Draw, settings: Settings, how: Augmentation, number: int
) -> tuple[Floats, Labels]:
    rng = np.random.default_rng((settings.seed, number, 1))
    extra = augment(draw.mu, draw.logvar, how=how, samples=settings.samples, rng=rng)
    labels = np.repeat(draw.label, len(extra) // len(draw.mu))
    return np.concatenate([draw.mu, extra]), np.concatenate([draw.label, labels])


def _fit(
    classifier: Classifier, x: Floats, y: Labels, strength: float
) -> LogisticRegression | LinearSVC:
    # More rows weigh more against the same penalty: the strength is for one row a person.
    scaled = strength * len(np.unique(y)) / len(y)
    # Such small products only lose time to the threads' hand-over.
    with threadpool_limits(1), warnings.catch_warnings():
        # One picture a person is the task, not a mistake.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        if classifier == "logistic":
            return LogisticRegression(C=100 * scaled, max_iter=300, tol=1e-3).fit(x, y)
        return LinearSVC(C=scaled, max_iter=2000, tol=1e-2).fit(x, y)


def _tune(tuning: Pictures, settings: Settings, shots: int, degraded: bool) -> dict[str, float]:
    """The strength that identifies most probes of the people set apart, for every classifier."""
    best: dict[str, float] = {}
    for how in AUGMENTATIONS:
        for classifier in CLASSIFIERS:
            scores = dict.fromkeys(_STRENGTHS, 0.0)
            for number in range(settings.tuning_draws):
                draw = _draw(tuning, settings, shots, degraded, number)
                x, y = _training_set(draw, settings, how, number)
                probes = np.concatenate(list(draw.probe_mu.values()))
                label = np.tile(draw.probe_label, len(draw.probe_mu))
                for strength in _STRENGTHS:
                    model = _fit(classifier, x, y, strength)
                    scores[strength] += float((np.asarray(model.predict(probes)) == label).mean())
            best[f"{classifier}, {how}"] = max(scores, key=lambda strength: scores[strength])
    return best
