"""The shipped encoder still gives the embeddings it shipped with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.engines.base import Precision
from facestream.engines.cards import MODELS, load_card
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.uncertainty import normalise, sigma
from facestream.training.errors import DataError
from facestream.training.export.golden import (
    Golden,
    astronaut,
    embed,
    find_landmarks,
    inputs,
    read_golden,
)

GOLDEN = Path(__file__).with_name("golden.npz")
ENCODER = MODELS / "vae_encoder.json"


@pytest.fixture(scope="module")
def golden() -> Golden:
    pytest.importorskip("skimage", reason="the golden astronaut comes with scikit-image")
    return read_golden(GOLDEN)


@pytest.fixture(scope="module")
def crops(golden: Golden) -> Image:
    return inputs(golden.landmarks)


def test_they_belong_to_the_encoder_that_ships(golden: Golden) -> None:
    shipped = load_card("vae_encoder").id
    assert golden.model_id == shipped, (
        f"the golden embeddings are of '{golden.model_id}', and '{shipped}' ships; after looking "
        "at why the encoder changed, renew them: facestream-train golden"
    )


def test_the_cascade_still_finds_the_landmarks(golden: Golden) -> None:
    np.testing.assert_allclose(find_landmarks(astronaut()), golden.landmarks, atol=0.5)


@pytest.mark.parametrize(
    ("precision", "least", "most_sigma"), [("float32", 0.9999, 0.002), ("bfloat16", 0.999, 0.02)]
)
def test_embeddings(
    golden: Golden,
    crops: Image,
    precision: Precision,
    least: float,
    most_sigma: float,
    request: pytest.FixtureRequest,
) -> None:
    if precision == "bfloat16":
        request.getfixturevalue("bfloat16_cpu")
    mu, logvar = embed(ENCODER, crops, precision=precision)
    cosine = (normalise(mu) * normalise(golden.mu)).sum(axis=1)
    assert cosine.min() >= least, (
        f"embeddings in {precision} moved (cosine {cosine.min():.6f}): the network, its "
        "preprocessing or the backend changed; if it was meant to: facestream-train golden"
    )
    np.testing.assert_allclose(sigma(logvar), sigma(golden.logvar), rtol=most_sigma)


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="facestream-train golden"):
        read_golden(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="facestream-train golden"):
        read_golden(tmp_path / "bad.npz")
