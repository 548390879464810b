"""Rates by group on made embeddings, and the linear probe on made labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import load_card
from facestream.pipeline.recognition.cohort import Cohort
from facestream.pipeline.recognition.uncertainty import normalise
from facestream.training.data.face_sets import FaceRow
from facestream.training.errors import DataError
from facestream.training.evaluation.demographics import (
    Limits,
    measure_groups,
    measure_named,
    pair_rate,
    save_plot,
    summary,
)
from facestream.training.evaluation.embeddings import EmbeddedRows
from facestream.training.evaluation.probe import meaning, probe
from facestream.training.evaluation.probe import save_plot as save_probe_plot

DIM = 64


def people(seed: int = 0) -> tuple[EmbeddedRows, Cohort]:
    """Sixty adults anywhere, sixty children in a corner; the cohort knows both places."""
    rng = np.random.default_rng(seed)
    corner = rng.standard_normal(DIM)
    rows = [FaceRow("utkface", f"x/30_0_1_{i}.webp", 99.0, 0.1) for i in range(60)]
    rows += [FaceRow("utkface", f"x/5_1_2_{i}.webp", 99.0, 0.1) for i in range(60)]
    mu = rng.standard_normal((120, DIM))
    mu[60:] += corner
    mu[1] = mu[0] + 0.1 * mu[1]  # one person twice
    logvar = np.repeat(np.array([[-1.0], [0.0]], np.float32), 60, axis=0) * np.ones(
        (1, DIM), np.float32
    )
    strangers = rng.standard_normal((600, DIM))
    strangers[300:] += corner
    cohort = Cohort(normalise(strangers), 60, 0.2, load_card("vae_cohort"))
    return EmbeddedRows(tuple(rows), mu.astype(np.float32), logvar), cohort


def test_a_group_that_looks_alike_has_more_false_matches_and_a_cohort_fewer(tmp_path: Path) -> None:
    found, cohort = people()
    rows = {(r.attribute, r.group): r for r in measure_groups(found, cohort, Limits(0.35, 0.35))}
    adults, children = rows["age", "20–39"], rows["age", "0–9"]
    assert (adults.pictures, adults.pairs, adults.dropped) == (60, 60 * 59 // 2 - 1, 1)
    assert children.fmr_cosine.value > 10 * adults.fmr_cosine.value
    assert children.fmr_normalised.value < 0.2 * children.fmr_cosine.value
    assert children.fmr_cosine.low < children.fmr_cosine.value < children.fmr_cosine.high
    assert children.sigma[1] == pytest.approx(1.0)
    assert ("race", "White") not in rows  # nobody of it
    said = summary(list(rows.values()), [])
    assert any("most frequent for 0–9" in line for line in said)
    save_plot(list(rows.values()), tmp_path / "groups.png")
    assert (tmp_path / "groups.png").stat().st_size > 1000


def test_people_with_names() -> None:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((12, DIM))
    rows = tuple(FaceRow("celeba", f"{p}/{i}.webp", 99.0, 0.1) for p in range(12) for i in range(3))
    mu = np.repeat(centres, 3, axis=0) + 0.2 * rng.standard_normal((36, DIM))
    found = EmbeddedRows(rows, mu.astype(np.float32), np.zeros((36, DIM), np.float32))
    named = measure_named(found, people()[1], Limits(0.6, 0.6))
    assert [(r.scoring, r.people, r.genuine, r.impostor) for r in named] == [
        ("cosine", 12, 36, 36 * 35 // 2 - 36),
        ("normalised", 12, 36, 36 * 35 // 2 - 36),
    ]
    assert all(r.tmr.value == 1.0 and r.fmr.value == 0.0 for r in named)


def test_a_rate_by_hand_and_its_interval() -> None:
    match = np.zeros((4, 4), bool)
    match[0, 1] = True
    pairs = np.triu(np.ones((4, 4), bool), 1)
    rate = pair_rate(match, pairs, np.arange(4))
    assert rate.value == pytest.approx(1 / 6)
    assert rate.low == 0.0
    assert rate.high <= 1.0
    assert np.isnan(pair_rate(match, np.zeros((4, 4), bool), np.arange(4)).value)


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    labels = ["a"] * 300 + ["b"] * 100
    blind = rng.standard_normal((400, 10)).astype(np.float32)
    seeing = blind.copy()
    seeing[:300, 3] += 3
    carried = probe(seeing, labels, attribute="letter", latent="seeing")
    assert carried.majority == 0.75
    assert carried.accuracy.low > 0.85
    assert carried.balanced.low > 0.75
    nothing = probe(blind, labels, attribute="letter", latent="blind")
    assert nothing.balanced.value == pytest.approx(0.5, abs=0.05)
    said = meaning([carried])
    assert "against 75.0% for the majority class" in said[0]
    assert "sensitive personal data" in said[1]
    assert not any("sensitive" in line for line in meaning([nothing]))


def test_a_probes_folds_are_honest() -> None:
    """More dimensions than pictures and labels by chance: fitted ones would all be right."""
    rng = np.random.default_rng(3)
    latents = rng.standard_normal((60, 200)).astype(np.float32)
    result = probe(latents, rng.choice(["a", "b"], 60).tolist(), attribute="chance", latent="x")
    assert 0.25 < result.balanced.value < 0.75


@pytest.mark.parametrize("labels", [["a"] * 20, ["a"] * 18 + ["b"] * 2])
def test_a_probe_needs_two_classes(labels: list[str]) -> None:
    with pytest.raises(DataError, match=r"cannot be probed.*there are a"):
        probe(np.zeros((20, 3), np.float32), labels, attribute="letter", latent="x")


def test_lengths_must_fit_and_the_plot_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        probe(np.zeros((3, 2), np.float32), ["a"], attribute="letter", latent="x")
    values = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    result = probe(values, ["a", "b"] * 20, attribute="letter", latent="x")
    save_probe_plot([result], tmp_path / "probe.png")
    assert (tmp_path / "probe.png").stat().st_size > 1000
