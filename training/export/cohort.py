"""The cohort of strangers that ships: chosen from the training people, float16, no pictures."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.engines.cards import ModelCard, TensorCard, Thresholds
from facestream.pipeline.recognition.cohort import Cohort
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray

from ..data.faces import FaceRow, sha256_of
from ..errors import DataError
from ..evaluation.attributes import attributes_of
from .card import EXCLUDED, TRAINING_DATA

Floats = NDArray[np.float32]
PEOPLE: Final = 5400
PICTURES: Final = 7000
TOP: Final = 300
SEED: Final = 0


def choose_members(
    rows: Sequence[FaceRow], *, people: int = PEOPLE, pictures: int = PICTURES, seed: int = SEED
) -> list[FaceRow]:
    """Whose embeddings make the cohort.

    Of labelled people one picture each; of unlabelled pictures an equal share of each group that
    the file names tell (gender × age × race), so that nobody meets only strangers unlike himself.

    Args:
        rows: the pictures that were trained on, never those of an evaluation set.
        people: most people of the labelled sets.
        pictures: most pictures of the unlabelled sets.
        seed: chooses among them.

    Raises:
        DataError: there is nobody to choose from.
    """
    rng = np.random.default_rng(seed)
    order = [rows[i] for i in rng.permutation(len(rows))]
    one = {row.identity: row for row in order if row.identity is not None}
    chosen = list(one.values())[:people]
    groups: dict[Any, list[FaceRow]] = {}
    for row in order:
        if row.identity is None:
            groups.setdefault((row.dataset, attributes_of(row)), []).append(row)
    # In turns: the n-th picture of every group before the (n + 1)-th of any.
    longest = max((len(members) for members in groups.values()), default=0)
    turns = [
        row
        for turn in range(longest)
        for members in groups.values()
        for row in members[turn : turn + 1]
    ]
    chosen += turns[:pictures]
    if not chosen:
        raise DataError("a cohort needs pictures to choose from; there are none")
    return sorted(chosen, key=lambda row: (row.dataset, row.member))


def write_vectors(path: Path, mu: Floats) -> None:
    """The embeddings at length 1 as float16, in one step."""
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as out:
        np.save(out, normalise(mu).astype(np.float16))
    partial.replace(path)


def make_cohort_card(
    file: Path,
    *,
    encoder: str,
    shape: tuple[int, int],
    typical: float,
    top: int = TOP,
    metrics: dict[str, Any] | None = None,
    thresholds: Thresholds | None = None,
) -> ModelCard:
    """The card beside the vectors.

    Args:
        file: the vectors, written already.
        encoder: id of the encoder that made them.
        shape: M×D.
        typical: see ``Cohort``.
        top: see ``Cohort``.
        metrics: what it is worth.
        thresholds: for normalised similarities.
    """
    digest = sha256_of(file)
    return ModelCard(
        name=file.stem,
        id=f"cohort-{shape[0]}-{digest[:8]}",
        file=file.name,
        sha256=digest,
        task="score normalisation",
        description=(
            f"Embeddings of {shape[0]:,} strangers, one picture each, that a face is compared "
            "with to see how similar it is to just anybody. No pictures and no names."
        ),
        inputs=(),
        outputs=(TensorCard(name="vectors", shape=shape, dtype="float16", layout="NC"),),
        preprocessing={
            "vectors": "mu at length 1",
            "method": "centred: cosine - (mean of probe + mean of template) / 2 + typical",
            "top": top,
            "typical": round(typical, 4),
        },
        source="facestream.training, 'facestream-train cohort'",
        licence="Non-commercial research only (terms of the pictures)",
        training_data=tuple(TRAINING_DATA[:3]),
        excluded=EXCLUDED,
        metrics=metrics or {},
        thresholds=thresholds,
        encoder=encoder,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def as_cohort(path: Path, *, encoder: str, typical: float, top: int = TOP) -> Cohort:
    """What ``load_cohort`` will give: from the file, so with float16's rounding."""
    vectors = normalise(np.load(path, allow_pickle=False))
    shape = (int(vectors.shape[0]), int(vectors.shape[1]))
    card = make_cohort_card(path, encoder=encoder, shape=shape, typical=typical, top=top)
    return Cohort(vectors, top, typical, card)
