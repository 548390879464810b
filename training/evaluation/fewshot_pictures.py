"""The pictures that few-shot identification is measured on, and its plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from facestream.pipeline.recognition.encoder import Encoder

from ..data.degrade import degrade_randomly
from ..errors import DataError
from .embed import embed_all
from .fewshot import (
    CONDITIONS,
    Labels,
    Pictures,
    Row,
)
from .lfw import read_crops, read_pairs
from .videos import Half, half_of

Progress = Callable[[str, int, int], None]


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
        by_person.setdefault(name.split("/", 1)[0], []).append(name)
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
    progress: Progress,
) -> Pictures:
    """Embed each picture as it is and randomly degraded.

    Raises:
        DataError: a picture cannot be read.
    """
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress("detect and align", done, len(names))

    crops = read_crops(lfw, names, cache=cache, progress=tell).faces
    rng = np.random.default_rng((seed, 2))
    spoilt = np.stack([degrade_randomly(crop, rng)[0] for crop in crops])
    clean = embed_all(encoder, crops, what="embed", progress=progress)
    bad = embed_all(encoder, spoilt, what="embed degraded", progress=progress)
    people = [name.split("/", 1)[0] for name in names]
    place = {person: i for i, person in enumerate(dict.fromkeys(people))}
    return Pictures(
        person=np.array([place[person] for person in people], np.int64),
        mu=np.stack([clean[0], bad[0]]),
        logvar=np.stack([clean[1], bad[1]]),
    )


def save_plot(file: Path, rows: Sequence[Row]) -> None:
    """Rank-1 by method and number of pictures, a panel a condition, as PNG (matplotlib)."""
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(row.method for row in rows))
    figure = Figure(figsize=(12, 4.5), layout="constrained")
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
    figure.savefig(file, dpi=120)
