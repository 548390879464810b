"""Few-shot identification on made embeddings whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facestream.training.errors import DataError
from facestream.training.evaluation.fewshot import (
    AUGMENTATIONS,
    CLASSIFIERS,
    CONDITIONS,
    NEAREST,
    FewShotRow,
    FewShotSettings,
    Pictures,
    augment,
    base_of,
    few_shot,
    people_with,
    save_plot,
)
from facestream.training.evaluation.protocol import mean_interval

DIM = 16


def made(seed: int, *, people: int = 8, pictures: int = 5, noise: float = 0.3) -> Pictures:
    """People about random directions; the degraded pictures are twice as far off."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), pictures)
    centre = rng.normal(size=(people, DIM))[person]
    mu = np.stack([centre + k * noise * rng.normal(size=centre.shape) for k in (1, 2)])
    logvar = np.stack([np.full(centre.shape, 2 * np.log(k * noise)) for k in (1, 2)])
    return Pictures(person, mu.astype(np.float32), logvar.astype(np.float32))


SETTINGS = FewShotSettings(shots=(1, 2), draws=2, people=4, samples=2, tuning_draws=1)


@pytest.fixture(scope="module")
def rows() -> list[FewShotRow]:
    return few_shot(made(0), made(1), SETTINGS)


def test_every_method_is_measured_in_every_condition(rows: list[FewShotRow]) -> None:
    methods = {*NEAREST, *(f"{c}, {a}" for c in CLASSIFIERS for a in AUGMENTATIONS)}
    found = {(row.condition, row.shots, row.method) for row in rows}
    assert found == {(c, k, m) for c in CONDITIONS for k in (1, 2) for m in methods}
    for row in rows:
        assert row.rank_one.low <= row.rank_one.value <= row.rank_one.high
        assert 0 <= row.rank_one.value <= 1
        if row.method == base_of(row.method):
            assert row.gain.value == row.gain.low == row.gain.high == 0
        assert (row.strength is None) == (row.method in NEAREST)


def test_easy_people_are_all_identified() -> None:
    easy = made(2, noise=0.01)
    found = few_shot(easy, easy, replace(SETTINGS, shots=(1,)))
    assert min(row.rank_one.value for row in found) == 1


def test_a_run_can_be_repeated(rows: list[FewShotRow]) -> None:
    assert few_shot(made(0), made(1), SETTINGS) == rows


def test_posterior_samples_spread_as_sigma_says() -> None:
    rng = np.random.default_rng(0)
    mu = np.zeros((2, DIM), np.float32)
    mu[:, 0] = DIM**0.5
    logvar = np.full((2, DIM), 2 * np.log(0.01), np.float32)
    logvar[1, 3] = 2 * np.log(0.2)
    drawn = augment(mu, logvar, how="posterior", samples=4000, rng=rng).reshape(2, 4000, DIM)
    spread = drawn[:, :, 1:].std(axis=1)
    assert spread[0] == pytest.approx(np.full(DIM - 1, 0.01), rel=0.1)
    assert spread[1, 2] == pytest.approx(0.2, rel=0.1)
    assert spread[1, 5] == pytest.approx(0.01, rel=0.1)


def test_isotropic_noise_has_the_same_size_and_no_direction() -> None:
    rng = np.random.default_rng(0)
    mu = np.zeros((2, DIM), np.float32)
    mu[:, 0] = DIM**0.5
    logvar = 2 * np.log(np.random.default_rng(1).uniform(0.02, 0.1, (2, DIM)))
    drawn = augment(mu, logvar, how="isotropic", samples=4000, rng=rng).reshape(2, 4000, DIM)
    size = np.sqrt(np.exp(logvar).mean())
    assert drawn[:, :, 1:].std(axis=1) == pytest.approx(np.full((2, DIM - 1), size), rel=0.1)


def test_samples_have_the_templates_length() -> None:
    mu, logvar = np.ones((3, DIM), np.float32), np.zeros((3, DIM), np.float32)
    drawn = augment(mu, logvar, how="posterior", samples=4, rng=np.random.default_rng(0))
    assert np.linalg.norm(drawn, axis=1) == pytest.approx(np.full(12, DIM**0.5), rel=1e-5)
    assert len(augment(mu, logvar, how="none", samples=4, rng=np.random.default_rng(0))) == 0


def test_the_interval_is_students() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.value == pytest.approx(2)
    assert interval.high - interval.value == pytest.approx(4.3027 / 3**0.5, rel=1e-3)


def test_too_little_data_is_refused() -> None:
    with pytest.raises(DataError, match="more than 5 pictures"):
        few_shot(made(0), made(1), FewShotSettings(draws=2))
    with pytest.raises(DataError, match="at least 2 draws"):
        few_shot(made(0), made(1), FewShotSettings(shots=(1,), draws=1))
    with pytest.raises(ValueError, match="2×N×D"):
        Pictures(np.zeros(3, np.int64), *np.zeros((2, 2, 4, 8), np.float32))


def test_people_with_enough_pictures(tmp_path: Path) -> None:
    lines = ["1\t3", "Ann\t1\t2", "Ann\t2\t3", "Bob\t1\t2"]
    lines += ["Ann\t1\tCid\t1", "Bob\t1\tCid\t1", "Ann\t3\tBob\t2"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    names, halves = people_with(tmp_path, more_than=1)
    assert names == [
        *(f"Ann/Ann_000{i}.jpg" for i in (1, 2, 3)),
        *(f"Bob/Bob_000{i}.jpg" for i in (1, 2)),
    ]
    assert sorted([*halves["dev"], *halves["test"]]) == [0, 1]
    with pytest.raises(DataError, match="more than 3"):
        people_with(tmp_path, more_than=3)


def test_the_plot_is_written(tmp_path: Path, rows: list[FewShotRow]) -> None:
    save_plot(tmp_path / "fewshot.png", rows)
    assert (tmp_path / "fewshot.png").read_bytes().startswith(b"\x89PNG")
