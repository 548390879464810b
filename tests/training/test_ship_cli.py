"""``cohort``, ``golden``, ``probe``, ``groups`` and ``ship`` on small made data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import MODELS, load_card, read_card
from facestream.pipeline.recognition.encoder import Encoder
from facestream.training.cli import export as ship_module
from facestream.training.cli.evaluate import groups, probe
from facestream.training.data.face_sets import read_folder
from facestream.training.errors import DataError, TrainingError
from facestream.training.evaluation.embeddings import embed_rows


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_embeddings_are_kept_by_model(face_folder: Path, tmp_path: Path) -> None:
    rows = read_folder(face_folder)[:6]
    with Encoder() as encoder:
        first = embed_rows(encoder, face_folder, rows[:4], cache=tmp_path / "cache")
        more = embed_rows(encoder, face_folder, rows, cache=tmp_path / "cache")
    np.testing.assert_array_equal(more.mu[:4], first.mu)
    assert more.mu.shape == more.logvar.shape == (6, 128)
    (file,) = (tmp_path / "cache").glob("embed_*.npz")
    assert load_card("vae_encoder").id in file.name
    # A damaged file is made again.
    file.write_bytes(b"damaged")
    with Encoder() as encoder:
        again = embed_rows(encoder, face_folder, rows, cache=tmp_path / "cache")
    np.testing.assert_allclose(again.mu, more.mu, atol=1e-3)
    # The pictures are not read again.
    for archive in face_folder.glob("*.zip"):
        archive.unlink()
    with Encoder() as encoder:
        kept = embed_rows(encoder, face_folder, rows, cache=tmp_path / "cache")
    np.testing.assert_array_equal(kept.mu, again.mu)


def test_probe_and_groups_say_what_is_missing(face_folder: Path, elsewhere: Path) -> None:
    (face_folder / "utkface.zip").unlink()
    with pytest.raises(DataError, match="has an attribute in its name"):
        probe(data=face_folder)
    with pytest.raises(DataError, match="groups in its name"):
        groups(data=face_folder)


def test_a_card_without_thresholds_is_no_ground_for_groups(
    face_folder: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vae_encoder", "vae_cohort"):
        card = json.loads((MODELS / f"{name}.json").read_text())
        shutil.copy(MODELS / card["file"], elsewhere)
        (elsewhere / f"{name}.json").write_text(json.dumps(card | {"thresholds": None}))
    monkeypatch.setattr(
        "facestream.training.cli.evaluate.split_identities", lambda rows: (rows, list(rows))
    )
    with pytest.raises(TrainingError, match="evaluate --write-card"):
        groups(model=elsewhere / "vae_encoder.json", data=face_folder)


def test_what_ships_is_moved_only_when_everything_is_made(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing step leaves the models that ship as they were."""
    done: list[str] = []

    def made(name: str, *files: str) -> object:
        def step(*_: object, **options: object) -> None:
            done.append(name)
            for file in files:
                shutil.copy(MODELS / file, elsewhere / "staging" / file)

        return step

    def failing(**_: object) -> None:
        raise TrainingError("no LFW")

    files = ("vae_encoder.onnx", "vae_encoder.json"), ("vae_cohort.npy", "vae_cohort.json")
    monkeypatch.setattr(ship_module, "export", made("export", *files[0]))
    monkeypatch.setattr(ship_module, "evaluate", made("evaluate"))
    monkeypatch.setattr(ship_module, "cohort", failing)

    def ship() -> None:
        ship_module.ship(
            elsewhere / "best.pt",
            staging=elsewhere / "staging",
            models=elsewhere / "models",
            golden_file=elsewhere / "golden.npz",
        )

    with pytest.raises(TrainingError, match="no LFW"):
        ship()
    assert not (elsewhere / "models").exists()
    monkeypatch.setattr(ship_module, "cohort", made("cohort", *files[1]))
    ship()
    assert done == ["export", "evaluate", "export", "evaluate", "cohort"]
    assert read_card(elsewhere / "models/vae_encoder.json").id == load_card("vae_encoder").id
    assert (elsewhere / "golden.npz").is_file()
    assert not list((elsewhere / "models").glob(".*"))
