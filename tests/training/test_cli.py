"""The command line on small made data, and the shipped encoder's figure on LFW."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import MODELS, load_card, read_card
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import sigma
from facestream.training import cli
from facestream.training.data.degrade import degrade
from facestream.training.evaluation.embeddings import embed_all
from facestream.training.evaluation.lfw import read_crops, read_pairs
from facestream.training.evaluation.verification import verify

from .conftest import picture


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of ``facestream-train`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["facestream-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_fit_resume_export(
    face_folder: Path,
    toy_teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "backbone": "residual", "start": "fresh", "held_out_percent": 25, "batch": 4, "steps": 2,
        "workers": 0, "threads": 1, "validation_pictures": 6, "save_every": 1,
    }  # fmt: skip
    flags = [f"--set={name}={value}" for name, value in settings.items()]
    out = tmp_path / "run"
    assert (
        run(
            monkeypatch,
            "fit",
            "--data",
            face_folder,
            "--teacher",
            toy_teacher,
            "--out",
            out,
            *flags,
        )
        == 0
    )
    assert run(monkeypatch, "resume", out, "--set", "steps=4") == 0
    assert json.loads((out / "config.json").read_text())["steps"] == 4
    onnx = tmp_path / "export/vae_encoder.onnx"
    assert run(monkeypatch, "export", out / "last.pt", "--out", onnx) == 0
    assert "residual" in read_card(onnx.with_suffix(".json")).id
    with Encoder(model=onnx.with_suffix(".json")) as encoder:
        mu, logvar = encoder.embed(np.stack([picture(1)[8:120, 8:120]]))
    assert mu.shape == logvar.shape == (1, 128)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--data", "nowhere"], "no training faces in nowhere"),
        (["fit", "--set", "steps"], "--set wants name=value"),
        (["fit", "--set", "stepz=3"], "bad setting stepz"),
        (["fit", "--set", "batch=0"], "bad setting batch"),
        (["resume", "nowhere"], "no checkpoint at"),
        (["export", "nowhere.pt"], "no checkpoint at"),
        (["evaluate", "--lfw", "nowhere"], "LFW's pairs are not at"),
        (["evaluate", "--model", "nowhere.json", "--lfw", "."], "pairs.txt"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert message in " ".join(said.split())
    assert "Traceback" not in said


def test_help_names_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("fit", "resume", "evaluate", "export"))


def test_shipped_card_is_complete() -> None:
    card = load_card("vae_encoder")
    assert (MODELS / card.file).stat().st_size < 20_000_000
    assert card.thresholds is not None
    assert card.thresholds.fmr == 1e-3
    assert card.thresholds.probability is not None
    assert card.metrics["lfw_accuracy"] >= 0.98
    assert "LFW" in str(card.excluded)


def test_shipped_encoder_on_two_folds_of_lfw(shared_data: Path) -> None:
    """1,200 pairs; the whole protocol is ``facestream-train evaluate``."""
    pairs = read_pairs(shared_data / "lfw/pairs.txt").folds(2)
    crops = read_crops(shared_data / "lfw", pairs.names)
    with Encoder() as encoder:
        mu, _ = embed_all(encoder, crops.faces)
        result = verify(pairs, mu, not_found=crops.not_found)
        assert result.accuracy.value >= 0.98
        assert result.not_found <= 0.01 * len(pairs.names)
        threshold = load_card("vae_encoder").thresholds
        assert threshold is not None
        assert abs(result.threshold_all_pairs - threshold.similarity) < 0.08


def test_shipped_sigma_rises_with_each_degradation(shared_data: Path) -> None:
    pairs = read_pairs(shared_data / "lfw/pairs.txt").folds(1)
    names = pairs.names[:24]
    crops = read_crops(shared_data / "lfw", names).faces
    with Encoder() as encoder:
        for kind in ("blur", "downscale", "noise", "jpeg", "occlusion"):
            means = []
            for level in (0.0, 0.4, 0.9):
                rng = np.random.default_rng(1)
                degraded = np.stack([degrade(face, kind, level, rng) for face in crops])
                means.append(float(sigma(encoder.embed(degraded)[1]).mean()))
            assert means == sorted(means), kind
            assert means[-1] > 1.1 * means[0], kind
