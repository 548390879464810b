"""Few-shot identification: do samples of the VAE's posterior make a better classifier?

Some pictures of each person are templates, the others probes. A classifier learns from the
templates alone, from the templates with samples mu + eps·sigma of their posteriors, or (the
control) with noise of the same mean size in all directions and at all pictures. If the control
helps as much, it is not sigma that helps.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from facestream.pipeline.core.types import Floats
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import direction
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ..data.degrade import degrade_randomly
from ..errors import DataError
from ..progress import ReportProgress, counted, silent
from .embeddings import embed_all
from .lfw import Half, half_of, person_of, read_crops, read_pairs
from .plots import new_figure, save_figure
from .probabilistic import fuse, mutual_likelihood_matrix
from .protocol import Interval, mean_interval

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


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """EmbeddedRows pictures, each as it is and degraded.

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
class FewShotSettings:
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
class FewShotRow:
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
    reported: Pictures,
    tuning: Pictures,
    settings: FewShotSettings,
    *,
    progress: ReportProgress = silent,
) -> list[FewShotRow]:
    """The table.

    Args:
        reported: pictures of the people to report on, more than the most shots of each.
        tuning: pictures of other people, on whom the classifiers' strength is chosen.

    Raises:
        DataError: too few people or pictures.
    """
    _check(reported, tuning, settings)
    total = len(settings.shots) * 2 * settings.draws
    rows: list[FewShotRow] = []
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
                FewShotRow(
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


def _share(interval: Interval) -> Interval:
    """An interval of a share ends at 0 and 1."""
    return Interval(interval.value, max(0.0, interval.low), min(1.0, interval.high))


def augment(
    mu: Floats, logvar: Floats, *, how: Augmentation, samples: int, rng: np.random.Generator
) -> Floats:
    """Samples about each template, at the templates' length.

    Args:
        mu: N×D at length √D (``direction``).
        logvar: N×D.
        how: ``posterior`` draws mu + eps·sigma; ``isotropic`` adds noise of one size, the root
            mean square of all the sigmas; ``none`` gives no samples.
        samples: of each template.

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


def _check(reported: Pictures, tuning: Pictures, settings: FewShotSettings) -> None:
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


def _draw(
    pictures: Pictures, settings: FewShotSettings, shots: int, degraded: bool, number: int
) -> _Draw:
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
    draw: _Draw, settings: FewShotSettings, strengths: dict[str, float], number: int
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
    draw: _Draw, settings: FewShotSettings, how: Augmentation, number: int
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


def _tune(
    tuning: Pictures, settings: FewShotSettings, shots: int, degraded: bool
) -> dict[str, float]:
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


def people_with(lfw: Path, *, more_than: int) -> tuple[list[str], dict[Half, Labels]]:
    """People of LFW with more than so many pictures.

    Args:
        lfw: holds ``pairs.txt``.
        more_than: pictures.

    Returns:
        The pictures, a person's together, and the labels of the people of either half (a label
        is the person's number in the order of the pictures).

    Raises:
        DataError: the list cannot be read, or nobody has as many.
    """
    by_person: dict[str, list[str]] = {}
    for name in sorted(read_pairs(lfw / "pairs.txt").names):
        by_person.setdefault(person_of(name), []).append(name)
    chosen = [p for p, pictures in by_person.items() if len(pictures) > more_than]
    if not chosen:
        raise DataError(f"nobody in {lfw} has more than {more_than} pictures")
    halves: dict[Half, Labels] = {
        half: np.array([i for i, p in enumerate(chosen) if half_of(p) == half], np.int64)
        for half in ("dev", "test")
    }
    return [name for p in chosen for name in by_person[p]], halves


def embed_pictures(
    encoder: Encoder,
    lfw: Path,
    names: Sequence[str],
    *,
    cache: Path | None,
    seed: int,
    progress: ReportProgress,
) -> Pictures:
    """Embed each picture as it is and randomly degraded.

    Raises:
        DataError: a picture cannot be read.
    """
    add = counted(progress, "detect and align", len(names))
    crops = read_crops(lfw, names, cache=cache, progress=add).faces
    rng = np.random.default_rng((seed, 2))
    degraded = np.stack([degrade_randomly(crop, rng)[0] for crop in crops])
    clean = embed_all(encoder, crops, what="embed", progress=progress)
    bad = embed_all(encoder, degraded, what="embed degraded", progress=progress)
    people = [person_of(name) for name in names]
    place = {person: i for i, person in enumerate(dict.fromkeys(people))}
    return Pictures(
        person=np.array([place[person] for person in people], np.int64),
        mu=np.stack([clean[0], bad[0]]),
        logvar=np.stack([clean[1], bad[1]]),
    )


def save_plot(file: Path, rows: Sequence[FewShotRow]) -> None:
    """Rank-1 by method and number of pictures, a panel a condition, as PNG."""
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = new_figure(12, 4.5)
    for axes, condition in zip(figure.subplots(1, len(CONDITIONS)), CONDITIONS, strict=True):
        mine = [row for row in rows if row.condition == condition]
        shots = sorted({row.shots for row in mine})
        width = 0.8 / len(methods)
        for number, method in enumerate(methods):
            found = {row.shots: row.rank_one for row in mine if row.method == method}
            values = np.array([found[k].value for k in shots])
            error = np.array([found[k].high - found[k].value for k in shots])
            place = np.arange(len(shots)) + (number - (len(methods) - 1) / 2) * width
            axes.bar(place, values, width, yerr=error, label=method)
        axes.set_xticks(np.arange(len(shots)), [str(k) for k in shots])
        axes.set_ylim(max(0.0, min(row.rank_one.low for row in mine) - 0.05), 1.0)
        axes.set_title(condition)
        axes.set_xlabel("pictures a person")
    figure.legend(methods, loc="outside lower center", ncols=5, fontsize="small")
    save_figure(figure, file)
