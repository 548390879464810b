"""The cohort of strangers that ships: chosen from the training people, float16, no pictures."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.engines.cards import CalibratedThresholds, FalseMatches, ModelCard, TensorCard
from facestream.engines.files import write_atomically
from facestream.pipeline.core.arrays import read_array
from facestream.pipeline.recognition.cohort import Cohort
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise

from ..data.face_sets import FaceRow, read_folder, sha256_of, split_identities
from ..errors import DataError
from ..evaluation.attributes import attributes_of
from ..evaluation.embeddings import Floats, embed_rows
from ..evaluation.false_matches import false_matches
from ..evaluation.lfw import Lfw
from ..evaluation.normalisation import ScoringRow, as_metrics, calibrate, compare, normalised_limit
from ..evaluation.verification import limit_metrics
from ..progress import ReportProgress
from .card import EXCLUDED, TRAINING_DATA, today, write_card

PEOPLE: Final = 5400
PICTURES: Final = 7000
TOP: Final = 300
SEED: Final = 0


def choose_members(
    rows: Sequence[FaceRow], *, people: int = PEOPLE, pictures: int = PICTURES, seed: int = SEED
) -> list[FaceRow]:
    """Whose embeddings make the cohort.

    Of labelled people one picture each; of unlabelled pictures an equal share of each group that
    the file names give (gender × age × race), so that everybody has similar strangers in it.

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
    content = io.BytesIO()
    np.save(content, normalise(mu).astype(np.float16))
    write_atomically(path, content.getvalue())


def make_cohort_card(
    file: Path,
    *,
    encoder: str,
    shape: tuple[int, int],
    typical: float,
    top: int = TOP,
    metrics: dict[str, Any] | None = None,
    thresholds: CalibratedThresholds | None = None,
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
        created=today(),
    )


def as_cohort(path: Path, *, encoder: str, typical: float, top: int = TOP) -> Cohort:
    """As ``load_cohort`` reads it from the file, so with float16's rounding."""
    vectors = normalise(read_array(path))
    shape = (int(vectors.shape[0]), int(vectors.shape[1]))
    card = make_cohort_card(path, encoder=encoder, shape=shape, typical=typical, top=top)
    return Cohort(vectors, top, typical, card)


@dataclass(frozen=True, slots=True, eq=False)
class MadeCohort:
    """A cohort that was written, and its measurement.

    Attributes:
        card: written beside the vectors.
        members: how many strangers.
        cosine_matches: thresholds of plain cosines, for the encoder's card.
        rows: each way of scoring, with clean and degraded probes.
    """

    card: ModelCard
    members: int
    cosine_matches: FalseMatches
    rows: list[ScoringRow]


def make_cohort(
    path: Path,
    encoder: Encoder,
    data: Path,
    lfw: Lfw,
    *,
    people: int,
    pictures: int,
    cache: Path,
    progress: ReportProgress,
) -> MadeCohort:
    """Choose and embed the strangers, set their thresholds on LFW and measure their gain.

    Args:
        path: of the vectors (``.npy``); the card goes beside it.
        encoder: whose cohort.
        lfw: for thresholds and figures.
        people, pictures: most labelled people and unlabelled pictures.

    Raises:
        DataError: too few people or pictures.
    """
    training, _ = split_identities(read_folder(data))
    members = choose_members(training, people=people, pictures=pictures)
    found = embed_rows(encoder, data, members, cache=cache, progress=progress)
    write_vectors(path, found.mu)
    mu, _ = lfw.embed(encoder, progress=progress)
    degraded = lfw.embed_degraded(encoder, progress=progress)
    cohort = as_cohort(path, encoder=encoder.model_id, typical=0.0)
    # LFW's similarities stay, on average, as they are.
    cohort = replace(cohort, typical=round(float(cohort.means(normalise(mu)).mean()), 4))
    rows = compare(lfw.pairs, mu, degraded[0], cohort.vectors, top=TOP)
    thresholds = calibrate(lfw.pairs, mu, cohort).model_copy(
        update={"false_matches": false_matches(found.rows, found.mu, cohort)}
    )
    limit = normalised_limit(lfw.pairs, mu, degraded, cohort, thresholds.similarity)
    card = make_cohort_card(
        path,
        encoder=encoder.model_id,
        shape=(len(members), mu.shape[1]),
        typical=cohort.typical,
        metrics={
            **limit_metrics(limit),
            **as_metrics(rows),
            "members": dict(Counter(row.dataset for row in members)),
        },
        thresholds=thresholds,
    )
    write_card(card, path.with_suffix(".json"))
    return MadeCohort(card, len(members), false_matches(found.rows, found.mu, None), rows)
