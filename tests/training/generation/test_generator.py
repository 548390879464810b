"""A small generator is trained, resumed, exported, and used through the command line."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facestream.engines.cards import read_card
from facestream.pipeline.core.images import read_image
from facestream.training import cli
from facestream.training.data.face_sets import read_folder
from facestream.training.errors import CheckpointError
from facestream.training.export.generator_onnx import fold, load_shipped
from facestream.training.fit.checkpoint import load_checkpoint
from facestream.training.generation.fit_generator import (
    fit_generator,
    load_generator,
    measure_prior,
)
from facestream.training.generation.generator_config import GeneratorConfig
from facestream.training.generation.repair import RepairOptions, blend, repair
from facestream.training.generation.synthesis import Synthesis
from facestream.training.models.appearance import FaceGenerator, with_holes
from PIL import Image as Pillow

from tests.faces import portrait_path


@pytest.fixture
def config(face_folder: Path, toy_teacher: Path, tmp_path: Path) -> GeneratorConfig:
    return GeneratorConfig(
        data=face_folder,
        teacher=toy_teacher,
        cache=tmp_path / "cache",
        appearance=8,
        held_out_percent=25,
        validation_pictures=6,
        batch=4,
        steps=4,
        judged=0,
        components=30,
        log_every=1,
        save_every=2,
        validate_every=2,
        workers=0,
        threads=1,
        precision="32-true",
        accelerator="cpu",
    )


def test_the_linear_start_reconstructs(config: GeneratorConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"steps": 1, "lr": 1e-9, "appearance": 24})
    fit_generator(config, tmp_path / "run")
    started = (tmp_path / "run" / "validation.csv").read_text().splitlines()[1].split(",")
    assert float(started[2]) > 12  # dB; a grey picture has about 9
    assert (tmp_path / "run" / "grid_000.png").is_file()


def test_a_resumed_run_goes_on_as_if_never_stopped(config: GeneratorConfig, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_generator(config, whole)
    with pytest.raises(KeyboardInterrupt):
        fit_generator(config, parts, progress=_stop_at(3))
    fit_generator(config, parts, resume=parts / "last.pt")
    a, b = (load_checkpoint(run / "last.pt")["model"] for run in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_unreadable_pictures_are_listed(config: GeneratorConfig, tmp_path: Path) -> None:
    rows = read_folder(config.data)
    with zipfile.ZipFile(config.data / "people.zip", "a") as archive:
        archive.writestr("9/9_9.webp", b"no picture")
    with (config.data / "people.csv").open("a") as file:
        file.write("9/9_9.webp,0.9,100.0,0.3\n")
    fit_generator(config.model_copy(update={"steps": 1}), tmp_path / "run")
    listed = (tmp_path / "run/skipped.csv").read_text().splitlines()
    assert listed[1].startswith("people,9/9_9.webp,")
    assert len(listed) == 2 < len(rows)


def _stop_at(step: int):  # type: ignore[no-untyped-def]
    def progress(what: str, done: int, total: int, values: object = None, /) -> None:
        if what == "fit" and done == step:
            raise KeyboardInterrupt

    return progress


def test_vae_gan_from_a_vae(config: GeneratorConfig, tmp_path: Path) -> None:
    fit_generator(config, tmp_path / "vae")
    settings = {"objective": "vae-gan", "init": tmp_path / "vae/last.pt", "rivals": 2}
    fit_generator(config.model_copy(update=settings), tmp_path / "gan")
    header = (tmp_path / "gan/curve.csv").read_text().splitlines()[0]
    assert {"fooled", "features", "discriminator", "caught"} <= set(header.split(","))
    with pytest.raises(CheckpointError, match="of kind 'generator-gan', not 'generator'"):
        fit_generator(
            config.model_copy(update={"steps": 6}),
            tmp_path / "vae",
            resume=tmp_path / "gan/last.pt",
        )


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    generator = FaceGenerator(appearance=8)
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    generator.eval()
    folded = fold(generator)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    picture, identity = torch.rand(2, 3, 112, 112) * 2 - 1, torch.randn(2, 128)
    seen = with_holes(picture, torch.ones(2, 1, 112, 112))
    with torch.no_grad():
        for ours, theirs in zip(
            folded.appearance(seen, identity), generator.appearance(seen, identity), strict=True
        ):
            assert torch.allclose(ours, theirs, atol=1e-3)
        z = torch.randn(2, 136)
        assert torch.allclose(folded.decoder(z), generator.decoder(z), atol=1e-4)


def test_blend_changes_the_hole_only() -> None:
    rng = np.random.default_rng(0)
    face = rng.integers(0, 256, (112, 112, 3), np.uint8)
    hole = np.zeros((112, 112), bool)
    hole[40:70, 30:60] = True
    mixed = blend(face, np.full_like(face, 100), hole, feather=2.0)
    assert (mixed[~hole] == face[~hole]).all()
    assert np.ptp(mixed[45:65, 35:55].reshape(-1, 3), axis=0).max() == 0


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["facestream-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def source_of(path: Path) -> str:
    with Pillow.open(path) as picture:
        text = str(picture.info["XML:com.adobe.xmp"])
    return text.split("digitalsourcetype/")[1].split('"')[0]


def test_export_and_commands(
    config: GeneratorConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    # More codes than their dimensions are needed for a prior.
    config = config.model_copy(update={"appearance": 2, "steps": 1})
    fit_generator(config, out)
    with pytest.raises(Exception, match="too few"):
        measure_prior(out / "last.pt", out / "prior.npy")
    generator, _ = load_generator(out / "last.pt")
    _write_prior(out / "prior.npy", generator)
    shipped = tmp_path / "shipped"
    assert run(monkeypatch, "export", out / "last.pt", "--out", shipped) == 0
    card = read_card(shipped / "vae_decoder.json")
    assert card.preprocessing["layout"] == {"identity": 128, "appearance": 2}
    assert (shipped / "vae_decoder.onnx").stat().st_size < 20e6
    again, _ = load_shipped(shipped / "vae_decoder.json")
    z = torch.randn(2, 130)
    with torch.no_grad():
        assert torch.allclose(again.decoder(z), generator.decoder(z), atol=0.02)

    model = ["--model", shipped / "vae_decoder.json"]
    photo = portrait_path()
    for name, arguments in {
        "samples": ["generate", "--count", 5, "--each", tmp_path / "each"],
        "like": ["generate", "--count", 3, "--like", photo],
        "between": ["interpolate", photo, photo, "--steps", 3],
    }.items():
        target = tmp_path / f"{name}.png"
        assert run(monkeypatch, *arguments, "--out", target, *model) == 0
        assert source_of(target) == "trainedAlgorithmicMedia"
    assert len(list((tmp_path / "each").glob("sample_*.png"))) == 5
    both = tmp_path / "both.png"
    assert run(monkeypatch, "reconstruct", photo, "--out", both, *model) == 0
    whole = tmp_path / "whole.png"
    arguments = ["repair", photo, "--region", "mouth", "--steps", 2, "--in-place", "--out", whole]
    assert run(monkeypatch, *arguments, *model) == 0
    assert source_of(whole) == "compositeWithTrainedAlgorithmicMedia"
    with Pillow.open(whole) as picture:
        mended = np.asarray(picture)[:, :, ::-1]
    original = read_image(photo)
    changed = (mended != original).any(axis=2)
    assert 0 < changed.mean() < 0.05
    assert "marked as synthetic" in capsys.readouterr().out
    # And what was made is not taken as a photo again.
    assert run(monkeypatch, "reconstruct", whole, "--out", both, *model) == 2
    assert "is marked as synthetic" in capsys.readouterr().err

    with Synthesis(model=shipped / "vae_decoder.json") as synthesis:
        small = np.asarray(cv2.resize(original[:240, 130:370], (112, 112)), np.uint8)
        face = np.ascontiguousarray(small[None, ..., ::-1])
        hole = np.zeros((1, 112, 112), bool)
        hole[:, 60:] = True
        made = repair(synthesis, face, hole, options=RepairOptions(steps=2))
        assert (made[~hole] == face[~hole]).all()
        with pytest.raises(ValueError, match="nothing of the face is known"):
            repair(synthesis, face, np.ones_like(hole))


def _write_prior(path: Path, generator: FaceGenerator) -> None:
    length = generator.identity_dim + generator.appearance.dim
    np.save(path, np.concatenate([np.zeros((1, length)), np.eye(length)]).astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["repair", "photo.png"], "exactly one of --mask, --box and --region"),
        (["repair", "nowhere.png", "--region", "eyes"], "no picture at nowhere.png"),
        (["repair", "PHOTO", "--box", "1,2,3"], "--box wants x1,y1,x2,y2"),
        (["repair", "PHOTO", "--box", "0,0,5,5"], "must cover a part of the face"),
        (["repair", "PHOTO", "--mask", "nowhere.png"], "the mask nowhere.png cannot be used"),
        (["generate", "--model", "nowhere.json"], "no model card nowhere.json"),
        (["generate", "--model", "nowhere.pt"], "no checkpoint at nowhere.pt"),
        (["fit-generator", "--set", "objective=gan"], "bad setting objective"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(portrait_path()) if word == "PHOTO" else word for word in arguments]
    assert run(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
