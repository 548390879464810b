"""Score normalisation, each formula computed again another way, and the cohort that ships."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import MODELS, load_card
from facestream.engines.errors import ModelError
from facestream.pipeline.recognition.cohort import (
    DEFAULT_COHORT,
    Statistics,
    cohort_statistics,
    load_cohort,
)
from facestream.pipeline.recognition.uncertainty import normalise
from facestream.training.evaluation.normalisation import METHODS, normalised
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def unit(seed: int, count: int, dim: int = 16) -> np.ndarray:
    return normalise(np.random.default_rng(seed).standard_normal((count, dim)))


@pytest.mark.parametrize("top", [1, 7, 40, 1000])
def test_statistics_one_by_one(top: int) -> None:
    faces, cohort = unit(1, 300), unit(2, 40)
    found = cohort_statistics(faces, cohort, top=top)
    for row in (0, 255, 256, 299):
        nearest = sorted((float(np.dot(faces[row], c)) for c in cohort), reverse=True)[:top]
        assert found.mean[row] == pytest.approx(np.mean(nearest), abs=1e-6)
        assert found.deviation[row] == pytest.approx(max(np.std(nearest), 1e-6), abs=1e-6)


def test_few_faces_get_the_statistics_of_many() -> None:
    """Few go another way than many."""
    faces, cohort = unit(6, 40, 128), unit(7, 500, 128)
    many = cohort_statistics(faces, cohort, top=20)
    for count in (1, 16, 17):
        few = cohort_statistics(faces[:count], cohort, top=20)
        assert np.allclose(few.mean, many.mean[:count], atol=1e-6)
        assert np.allclose(few.deviation, many.deviation[:count], atol=1e-6)


def test_each_formula_by_hand() -> None:
    probe = Statistics(np.array([0.1], np.float32), np.array([0.05], np.float32))
    template = Statistics(np.array([0.2], np.float32), np.array([0.1], np.float32))
    score = np.array([0.5], np.float32)
    for method, expected in {"z": 3.0, "t": 8.0, "s": 5.5, "centred": 0.35}.items():
        found = normalised(method, score, probe, template)  # type: ignore[arg-type]
        assert found[0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="no score normalisation"):
        normalised("x", score, probe, template)  # type: ignore[arg-type]


def test_centred_is_half_the_csls_of_conneau_et_al() -> None:
    probes, templates, cohort = unit(3, 5), unit(4, 6), unit(5, 50)
    p = cohort_statistics(probes, cohort, top=10)
    t = cohort_statistics(templates, cohort, top=10)
    ours = normalised(
        "centred", probes @ templates.T, Statistics(p.mean[:, None], p.deviation[:, None]), t
    )
    csls = 2 * probes @ templates.T - p.mean[:, None] - t.mean[None]
    np.testing.assert_allclose(ours, csls / 2, atol=1e-6)


@given(hnp.arrays(np.float32, 12, elements=st.floats(-1, 1, width=32)), st.sampled_from(METHODS))
def test_a_row_keeps_its_order_where_only_the_probe_counts(scores: np.ndarray, method: str) -> None:
    """For one probe and templates that are alike to strangers, the order cannot change."""
    probe = Statistics(np.array([0.1], np.float32), np.array([0.04], np.float32))
    same = Statistics(np.full(12, 0.2, np.float32), np.full(12, 0.05, np.float32))
    out = normalised(method, scores, probe, same)  # type: ignore[arg-type]
    order = np.argsort(scores, kind="stable")
    assert (np.diff(out[order]) >= -1e-5).all()


def test_a_face_like_everybody_needs_more() -> None:
    """A probe in the middle of the cohort loses what it shares with it; one far off does not."""
    cohort = normalise(unit(6, 200) + 2 * unit(7, 1))
    common, rare = unit(7, 1), -unit(7, 1)
    means = [cohort_statistics(face, cohort, top=20).mean[0] for face in (common, rare)]
    assert means[0] > 0.5 > -0.5 > means[1]


@pytest.mark.parametrize(
    ("faces", "cohort", "top"),
    [(unit(1, 2), unit(2, 3, 8), 1), (unit(1, 2), unit(2, 0), 1), (unit(1, 2), unit(2, 3), 0)],
)
def test_what_does_not_fit_is_refused(faces: np.ndarray, cohort: np.ndarray, top: int) -> None:
    with pytest.raises(ValueError, match=r"M ≥ 1|top must be"):
        cohort_statistics(faces, cohort, top=top)


def test_shipped_cohort() -> None:
    cohort = load_cohort(load_card("vae_encoder").id)
    assert cohort.vectors.shape[1] == 128
    assert 5_000 <= len(cohort.vectors) <= 15_000
    assert (MODELS / cohort.card.file).stat().st_size <= 5_000_000
    np.testing.assert_allclose(np.linalg.norm(cohort.vectors, axis=1), 1, atol=1e-4)
    assert cohort.card.thresholds is not None
    assert cohort.card.thresholds.probability is not None
    assert "LFW" in str(cohort.card.excluded)
    assert "research" in cohort.card.licence


def test_normalised_similarities_of_usual_faces_are_their_cosines() -> None:
    cohort = load_cohort(load_card("vae_encoder").id)
    usual = np.full(1, cohort.typical, np.float32)
    assert cohort.normalised(np.array([0.4], np.float32), usual, usual)[0] == pytest.approx(0.4)
    shift = cohort.normalised(np.array([0.4], np.float32), usual - 0.1, usual + 0.3)
    assert shift[0] == pytest.approx(0.3)
    assert cohort.normalised(np.array([1.0], np.float32), usual - 0.2, usual - 0.2)[0] == 1.0


def copied(folder: Path, **changes: object) -> Path:
    card = json.loads(DEFAULT_COHORT.read_text()) | changes
    shutil.copy(MODELS / card["file"], folder)
    path = folder / "vae_cohort.json"
    path.write_text(json.dumps(card))
    return path


def test_another_models_cohort_is_refused(tmp_path: Path) -> None:
    path = copied(tmp_path, encoder="other-1")
    with pytest.raises(ModelError, match=r"embeddings of 'other-1', and 'enc-2' is in use.*cohort"):
        load_cohort("enc-2", card=path)


def test_damaged_cohorts_are_refused(tmp_path: Path) -> None:
    name = load_card("vae_encoder").id
    path = copied(tmp_path)
    (tmp_path / "vae_cohort.npy").write_bytes(b"not numbers")
    with pytest.raises(ModelError, match="damaged or was replaced"):
        load_cohort(name, card=path)
    path = copied(tmp_path, preprocessing={})
    with pytest.raises(ModelError, match="cannot be read"):
        load_cohort(name, card=path)
    with pytest.raises(ModelError, match="no model card"):
        load_cohort(name, card=tmp_path / "nothing.json")
