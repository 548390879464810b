"""A linear probe: which attributes of people can be read from a frozen latent.

A logistic regression on standardised latents, always judged on pictures it was not fitted to. What
it can read, anybody who has the embeddings can read, too: that embeddings carry gender and age
makes them personal data of a sensitive kind even without pictures and names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedKFold, cross_val_predict  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from ..data.face_sets import FaceRow
from ..errors import DataError
from .attributes import Attributes, attributes_of
from .embeddings import EmbeddedRows, Floats
from .plots import new_figure, save_figure
from .protocol import Interval, percentiles, wilson

ATTRIBUTES: Final = ("gender", "age", "race")
FOLDS: Final = 5
# Strength of the L2 penalty (its inverse): hundreds of pictures a class make the choice uncritical.
PENALTY: Final = 0.05
_DRAWS: Final = 300


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How well one latent predicts one attribute.

    Attributes:
        attribute: e.g. ``gender (utkface)``.
        latent: e.g. ``mu``.
        pictures: N. classes: with the number of pictures of each.
        accuracy: over pictures not fitted to, with its 95 % interval (Wilson).
        balanced: mean recall of the classes (interval: bootstrap over pictures).
        majority: accuracy of always naming the most frequent class.
        recall: by class.
    """

    attribute: str
    latent: str
    pictures: int
    classes: dict[str, int]
    accuracy: Interval
    balanced: Interval
    majority: float
    recall: dict[str, float]


def probe(
    latents: Floats, labels: Sequence[str], *, attribute: str, latent: str, seed: int = 0
) -> ProbeResult:
    """Predict labels from latents, five folds by picture.

    Args:
        latents: N×K, any representation of N pictures.
        labels: N.
        attribute: its name, for the result.
        latent: its name, for the result.

    Raises:
        DataError: fewer than two classes, or one with fewer pictures than folds.
        ValueError: lengths that differ.
    """
    truth = np.asarray(labels)
    if latents.ndim != 2 or len(latents) != len(truth):
        raise ValueError(f"{latents.shape} latents do not fit {len(truth)} labels")
    names, counts = np.unique(truth, return_counts=True)
    if len(names) < 2 or counts.min() < FOLDS:
        found = ", ".join(f"{n} {c}" for n, c in zip(names, counts, strict=True)) or "no labels"
        raise DataError(
            f"{attribute} cannot be probed: it needs two classes of {FOLDS} pictures each or more; "
            f"there are {found}"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=200, tol=1e-3))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    right = cross_val_predict(model, latents, truth, cv=folds) == truth
    recall = {str(name): float(right[truth == name].mean()) for name in names}
    return ProbeResult(
        attribute=attribute,
        latent=latent,
        pictures=len(truth),
        classes={str(n): int(c) for n, c in zip(names, counts, strict=True)},
        accuracy=wilson(int(right.sum()), len(right)),
        balanced=_balanced(right, truth, seed),
        majority=float(counts.max() / counts.sum()),
        recall=recall,
    )


def labelled(rows: Sequence[FaceRow], limit: int) -> list[FaceRow]:
    """At most ``limit`` labelled pictures of each set, always the same ones."""
    chosen: list[FaceRow] = []
    for name in dict.fromkeys(row.dataset for row in rows):
        some = [r for r in rows if r.dataset == name and attributes_of(r) != Attributes()]
        order = np.random.default_rng(0).permutation(len(some))[:limit]
        chosen += [some[i] for i in sorted(order)]
    return chosen


def probe_all(found: EmbeddedRows) -> list[ProbeResult]:
    """Every attribute of every set, from mu alone and from mu with sigma."""
    latents = {
        "mu": normalise(found.mu),
        "mu and sigma": np.concatenate([normalise(found.mu), found.logvar], axis=1),
    }
    results = []
    for dataset in dict.fromkeys(row.dataset for row in found.rows):
        for attribute in ATTRIBUTES:
            labels = [
                getattr(attributes_of(row), attribute) if row.dataset == dataset else None
                for row in found.rows
            ]
            there = [i for i, label in enumerate(labels) if label is not None]
            if not there:
                continue
            results += [
                probe(
                    values[there],
                    [str(labels[i]) for i in there],
                    attribute=f"{attribute} ({dataset})",
                    latent=latent,
                )
                for latent, values in latents.items()
            ]
    return results


def _balanced(right: NDArray[np.bool_], truth: NDArray[np.str_], seed: int) -> Interval:
    rng = np.random.default_rng(seed)
    sides = [right[truth == name] for name in np.unique(truth)]
    drawn = [np.mean([rng.choice(s, len(s)).mean() for s in sides]) for _ in range(_DRAWS)]
    return percentiles(float(np.mean([s.mean() for s in sides])), drawn)


def meaning(results: Sequence[ProbeResult]) -> list[str]:
    """The results in sentences, for people and for the model card."""
    lines = [
        f"{r.attribute}: {r.accuracy.value:.1%} from {r.latent} "
        f"({r.accuracy.low:.1%} to {r.accuracy.high:.1%}) against {r.majority:.1%} for the "
        f"majority class; mean recall {r.balanced.value:.1%}, chance {1 / len(r.classes):.1%}"
        for r in results
    ]
    carried = sorted({r.attribute for r in results if r.balanced.low > 1.2 / len(r.classes)})
    if carried:
        lines.append(
            f"The embedding carries {', '.join(carried)} although nobody asked for it: embeddings "
            "are sensitive personal data without pictures and names, and must be guarded, deleted "
            "and shared as such. They must not be used to sort people by these attributes."
        )
    lines.append(
        "The labels are the data sets' own; folds are by picture, and UTKFace names no people, so "
        "that a person may be in two folds."
    )
    return lines


def save_plot(results: Sequence[ProbeResult], path: Path) -> None:
    """Balanced accuracy beside chance, as PNG."""
    attributes = list(dict.fromkeys(r.attribute for r in results))
    latents = list(dict.fromkeys(r.latent for r in results))
    table: Mapping[tuple[str, str], ProbeResult] = {(r.attribute, r.latent): r for r in results}
    figure = new_figure(2 + 2 * len(attributes), 4)
    axes = figure.subplots()
    width = 0.8 / len(latents)
    for number, latent in enumerate(latents):
        rows = [(i, table[a, latent]) for i, a in enumerate(attributes) if (a, latent) in table]
        heights = [r.balanced.value for _, r in rows]
        errors = [
            [r.balanced.value - r.balanced.low for _, r in rows],
            [r.balanced.high - r.balanced.value for _, r in rows],
        ]
        places = [i + (number - (len(latents) - 1) / 2) * width for i, _ in rows]
        axes.bar(places, heights, width, yerr=errors, capsize=3, label=latent)
    for i, attribute in enumerate(attributes):
        classes = next(r.classes for r in results if r.attribute == attribute)
        axes.plot([i - 0.45, i + 0.45], [1 / len(classes)] * 2, "k--", lw=1)
    axes.set(ylim=(0, 1), ylabel="mean recall (dashed: chance)")
    axes.set_xticks(range(len(attributes)), attributes)
    axes.legend()
    save_figure(figure, path)
