"""Model cards: complete, true to their files, and clear when they are not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.cards import (
    MODELS,
    FalseMatches,
    StrangerLimits,
    list_cards,
    load_card,
    model_path,
    read_card,
    verify,
)
from facestream.engines.errors import ModelError
from facestream.engines.registry import load_engine
from pydantic import ValidationError

NAMES = [card.name for card in list_cards() if card.file.endswith(".onnx")]


def card_of(content: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "name": "made",
        "id": "made-1",
        "file": "made.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "task": "test",
        "description": "made here",
        "inputs": [{"name": "x", "shape": [None, 3], "dtype": "float32", "layout": "NC"}],
        "outputs": [{"name": "y", "shape": [None, 3]}],
        "source": "here",
        "licence": "Apache-2.0",
        "created": "2026-01-01",
        **changes,
    }


def write(folder: Path, content: bytes, **changes: Any) -> Path:
    (folder / "made.onnx").write_bytes(content)
    path = folder / "made.json"
    path.write_text(json.dumps(card_of(content, **changes)), encoding="utf-8")
    return path


def test_the_networks_of_the_pipeline_ship() -> None:
    assert {"mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "vae_encoder"} <= set(NAMES)
    assert {path.stem for path in MODELS.glob("*.onnx")} == set(NAMES)


def test_what_belongs_to_an_encoder_belongs_to_the_one_that_ships() -> None:
    shipped = load_card("vae_encoder").id
    for card in list_cards():
        assert model_path(card.name).is_file()
        assert card.encoder in (None, shipped), (
            f"{card.name} belongs to '{card.encoder}', and '{shipped}' ships; make it anew: "
            "facestream-train cohort"
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_card_is_true_to_its_network(name: str) -> None:
    card = load_card(name)
    assert card.file == f"{name}.onnx"
    assert card.licence
    assert card.notice_file is None or (MODELS / card.notice_file).is_file()
    with load_engine(model_path(name)) as engine:
        for tensors, specs in ((card.inputs, engine.inputs), (card.outputs, engine.outputs)):
            assert [(t.name, t.shape) for t in tensors] == [(s.name, s.shape) for s in specs]
            assert [np.dtype(t.dtype) for t in tensors] == [s.dtype for s in specs]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model card .*; there: .*mtcnn_pnet"):
        load_card("mtcnn_qnet")
    with pytest.raises(ModelError, match="no model card"):
        model_path("mtcnn_qnet")


def test_a_replaced_network_is_refused_even_while_running(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, b"the network"))
    assert verify(card, tmp_path) == tmp_path / "made.onnx"
    (tmp_path / "made.onnx").write_bytes(b"the netw0rk!")
    with pytest.raises(ModelError, match=r"made\.onnx is damaged or was replaced: its SHA-256"):
        verify(card, tmp_path)
    (tmp_path / "made.onnx").unlink()
    with pytest.raises(ModelError, match="no model file at"):
        verify(card, tmp_path)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"colour": "RGB"}, "colour"),
        ({"sha256": "abc"}, "sha256"),
        ({"thresholds": {"similarity": 2, "fmr": 0.001, "basis": "x"}}, "thresholds.similarity"),
        ({"inputs": [{"shape": [1]}]}, "inputs.0.name"),
    ],
)
def test_a_bad_card_names_the_field(tmp_path: Path, changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ModelError, match=f"bad model card .*: {where}: ") as caught:
        read_card(write(tmp_path, b"x", **changes))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_card(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="bad model card"):
        read_card(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot read the model card"):
        read_card(path)
    with pytest.raises(ModelError, match="cannot read the model card"):
        read_card(tmp_path)


# Thresholds of strangers whose similarities are Gaussian: mean 0.1, deviation 0.1.
GAUSSIAN = FalseMatches(
    rates=(1e-2, 1e-3, 1e-5), similarities=(0.33263, 0.40902, 0.52649), basis="made", fit="made"
)


@pytest.mark.parametrize(
    ("rate", "similarity"),
    [(1e-3, 0.40902), (1e-2, 0.33263), (1e-4, 0.47190), (1e-7, 0.61993), (0.5, 0.1)],
)
def test_a_threshold_of_any_false_match_rate(rate: float, similarity: float) -> None:
    """Those of the table as they are; between and beyond them along the Gaussian."""
    assert GAUSSIAN.similarity(rate) == pytest.approx(similarity, abs=1e-4)


def test_a_threshold_is_a_similarity_however_small_the_rate() -> None:
    assert GAUSSIAN.similarity(1e-300) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"rates": (1e-2, 1e-3)},
        {"rates": (1e-2, 1e-3, 1e-3)},
        {"rates": (1e-3, 1e-2, 1e-5)},
        {"rates": (1.0, 1e-3, 1e-5)},
        {"rates": (1e-2,), "similarities": (0.3,)},
        {"similarities": (0.3, 0.5, 0.4)},
    ],
)
def test_a_table_out_of_order_is_refused(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValidationError):
        FalseMatches.model_validate(GAUSSIAN.model_dump() | wrong)


def limits(**more: Any) -> StrangerLimits:
    return StrangerLimits(
        similarity=0.35, sigma=1.1, enrolled=0.01, strangers=0.8, basis="made up", **more
    )


TABLE = {"photos": (10, 1000), "sigmas": (0.7, 1.1), "similarities": ((0.3, 0.1), (0.5, 0.3))}


@pytest.mark.parametrize(
    ("sigma", "photos", "expected"),
    [
        (0.7, 10, 0.3),
        (0.9, 10, 0.2),
        (0.9, 100, 0.3),  # half way over the logarithm
        (0.5, 1, 0.3),  # outside: as at the border
        (1.1, 10**6, 0.3),
        (1.2, 10, -1.0),
        (float("nan"), 10, -1.0),
    ],
)
def test_the_limit_of_strangers(sigma: float, photos: int, expected: float) -> None:
    assert limits(**TABLE).limit(sigma, photos) == pytest.approx(expected)
    if sigma <= 1.1:
        assert limits().limit(sigma, photos) == 0.35


@pytest.mark.parametrize(
    "wrong",
    [
        {"photos": (10, 10)},
        {"sigmas": (1.1, 0.7)},
        {"photos": (0, 10)},
        {"similarities": ((0.3, 0.1),)},
        {"photos": (), "similarities": ()},
    ],
)
def test_a_table_of_limits_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="table"):
        limits(**TABLE | wrong)
