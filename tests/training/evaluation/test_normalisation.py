"""Score normalisation's measurement on made embeddings; whom a cohort is made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import read_card
from facestream.pipeline.recognition.cohort import load_cohort
from facestream.pipeline.recognition.uncertainty import normalise
from facestream.training.data.face_sets import FaceRow
from facestream.training.errors import DataError
from facestream.training.evaluation.attributes import Attributes, age_group, attributes_of
from facestream.training.evaluation.lfw import Pairs
from facestream.training.evaluation.normalisation import calibrate, compare, normalised_limit
from facestream.training.evaluation.tpir import split_open_set
from facestream.training.evaluation.verification import limit_metrics
from facestream.training.export.card import write_card
from facestream.training.export.strangers import (
    as_cohort,
    choose_members,
    make_cohort_card,
    write_vectors,
)


def row(dataset: str, member: str) -> FaceRow:
    return FaceRow(dataset, member, 100.0, 0.3)


@pytest.mark.parametrize(
    ("dataset", "member", "expected"),
    [
        ("utkface", "x/26_1_2_20170116.jpg.chip.webp", Attributes("female", "20–39", "Asian")),
        ("utkface", "x/9_0_4_20170116.webp", Attributes("male", "0–9", "other")),
        ("utkface", "x/116_0_0_20170116.webp", Attributes("male", "60+", "White")),
        ("utkface", "x/61_1_20170109142408075.webp", Attributes("female", "60+", None)),
        ("utkface", "x/anything.webp", Attributes()),
        ("scut", "x/AF12.webp", Attributes("female", None, "Asian")),
        ("scut", "x/CM3.webp", Attributes("male", None, "White")),
        ("celeba_wild", "7/26_1_2_20170116.webp", Attributes()),
    ],
)
def test_attributes_in_names(dataset: str, member: str, expected: Attributes) -> None:
    assert attributes_of(row(dataset, member)) == expected


def test_age_groups() -> None:
    assert [age_group(a) for a in (0, 9, 10, 19, 20, 39, 40, 60, 116)] == [
        "0–9", "0–9", "10–19", "10–19", "20–39", "20–39", "40–59", "60+", "60+",
    ]  # fmt: skip


def test_one_picture_a_person_and_equal_shares_of_groups() -> None:
    people = [row("celeba", f"{p}/{i}.webp") for p in range(30) for i in range(4)]
    many = [row("utkface", f"x/30_0_0_{i}.webp") for i in range(200)]
    few = [row("utkface", f"x/5_1_1_{i}.webp") for i in range(8)]
    chosen = choose_members([*people, *many, *few], people=20, pictures=20)
    identities = [r.identity for r in chosen if r.identity is not None]
    assert len(identities) == len(set(identities)) == 20
    groups = [attributes_of(r).age for r in chosen if r.identity is None]
    assert (groups.count("0–9"), groups.count("20–39")) == (8, 12)
    assert chosen == choose_members([*people, *many, *few], people=20, pictures=20)
    with pytest.raises(DataError, match="pictures to choose from"):
        choose_members([])


def test_who_is_enrolled() -> None:
    split = split_open_set(["ann", "bob", "ann", "cem", "ann", "bob"])
    assert split.gallery.tolist() == [0, 1]
    assert split.probes.tolist() == [2, 3, 4, 5]
    assert split.truth.tolist() == [0, -1, 0, 1]


def made(seed: int = 0) -> tuple[Pairs, np.ndarray, np.ndarray]:
    """Sixty people; half lie in a corner where all are alike, with strangers there, too."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((60, 32))
    corner = 1.5 * rng.standard_normal(32)
    centres[30:] += corner
    names, mu = [], []
    for person, centre in enumerate(centres):
        for i in range(1 if person % 3 == 2 else 3):
            names.append(f"P{person}/P{person}_{i:04d}.jpg")
            mu.append(centre + 0.4 * rng.standard_normal(32))
    strangers = rng.standard_normal((400, 32))
    strangers[200:] += corner
    person_of = np.array([int(n.split("/")[0][1:]) for n in names])
    left, right = np.triu_indices(len(names), 1)
    pairs = Pairs(tuple(names), left, right, person_of[left] == person_of[right], left % 10)
    return pairs, np.array(mu, np.float32), normalise(strangers)


def test_a_cohort_helps_where_some_people_are_alike() -> None:
    pairs, mu, strangers = made()
    rows = {(r.scoring, r.condition): r for r in compare(pairs, mu, mu, strangers, top=40)}
    assert len(rows) == 10
    plain, better = rows["cosine", "clean"], rows["centred", "clean"]
    assert better.gain.low > 0
    assert better.gain.value == pytest.approx(better.tpir.value - plain.tpir.value)
    assert better.gain.low <= better.gain.value <= better.gain.high
    assert (plain.gain.value, plain.gain.low, plain.gain.high) == (0, 0, 0)


def test_a_cohort_written_is_the_cohort_loaded(tmp_path: Path) -> None:
    pairs, mu, strangers = made()
    path = tmp_path / "made_cohort.npy"
    write_vectors(path, strangers)
    cohort = as_cohort(path, encoder="enc-1", typical=0.1, top=40)
    thresholds = calibrate(pairs, mu, cohort)
    card = make_cohort_card(
        path, encoder="enc-1", shape=(400, 32), typical=0.1, top=40, thresholds=thresholds
    )
    write_card(card, path.with_suffix(".json"))
    loaded = load_cohort("enc-1", card=path.with_suffix(".json"))
    np.testing.assert_array_equal(loaded.vectors, cohort.vectors)
    assert (loaded.top, loaded.typical) == (40, 0.1)
    assert loaded.card == read_card(path.with_suffix(".json")) == card
    # The threshold lets one in a thousand of the pairs of different people pass.
    unit = normalise(mu)
    means = cohort.means(unit)
    scores = cohort.normalised(unit @ unit.T, means[:, None], means)
    people = np.array([n.split("/")[0] for n in pairs.names])
    others = scores[np.triu(people[:, None] != people[None])]
    assert (others >= thresholds.similarity).mean() == pytest.approx(1e-3, rel=0.3)
    assert json.loads(path.with_suffix(".json").read_text())["encoder"] == "enc-1"


def test_the_limit_of_sigma_is_where_degraded_faces_are_lost(tmp_path: Path) -> None:
    pairs, mu, strangers = made()
    path = tmp_path / "made_cohort.npy"
    write_vectors(path, strangers)
    cohort = as_cohort(path, encoder="enc-1", typical=0.1, top=40)
    rng = np.random.default_rng(1)
    degraded = mu.copy()
    # No two sigmas are alike.
    logvar = np.linspace(-1.1, -0.9, len(mu), dtype=np.float32)[:, None] * np.ones_like(mu)
    lost = rng.random(len(mu)) < 0.5
    degraded[lost] = rng.standard_normal(mu[lost].shape)
    logvar[lost] += 1.5
    limit = normalised_limit(pairs, mu, (degraded, logvar), cohort, 0.3)
    # Clear faces lie between 0.58 and 0.64, lost ones from 1.22 on.
    assert 0.6 < limit.value < 1.23
    assert limit.fnmr > 0.9
    assert limit_metrics(limit)["max_sigma"] == limit.value
    assert limit_metrics(normalised_limit(pairs, mu, (mu, logvar), cohort, 0.2)) == {}
