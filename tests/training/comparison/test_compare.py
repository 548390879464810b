"""``compare`` on small made data: trained, measured, kept, and refused where it must be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from facestream.training.comparison.compare import RESULT, DesignComparison, Result, compare
from facestream.training.comparison.contenders import CONTENDERS, CompareConfig, chosen
from facestream.training.comparison.measure import draw_samples
from facestream.training.comparison.networks import ContenderModule, without_colour
from facestream.training.comparison.report import as_json, as_markdown, write_report
from facestream.training.errors import DataError, TrainingError
from facestream.training.generation.synthetic_pictures import to_pictures
from facestream.training.models.decoder import Decoder
from facestream.training.models.vae import LATENT_DIM


@pytest.fixture
def config(face_folder: Path, toy_teacher: Path, tmp_path: Path) -> CompareConfig:
    """Two steps of four pictures for a VAE-GAN and a GAN."""
    return CompareConfig(
        data=face_folder,
        teacher=toy_teacher,
        cache=tmp_path / "cache",
        contenders=("vae-gan", "gan"),
        pictures=8,
        batch=4,
        samples=6,
        faces=3,
        workers=0,
        threads=1,
        precision="32-true",
        accelerator="cpu",
    )


def test_trained_measured_written_and_kept(config: CompareConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told: set[str] = set()
    first = compare(config, out, progress=lambda what, *_: told.add(what))
    assert {"vae-gan", "gan"} <= told
    vae, gan = first.results
    assert vae.pictures == gan.pictures == 8
    assert vae.psnr is not None
    assert -1 <= (vae.ssim or 0) <= 1
    assert vae.macs is not None
    assert 150e6 < vae.macs < 250e6
    assert vae.faces_per_second is not None
    assert gan.lfw is gan.psnr is gan.macs is gan.faces_per_second is None
    assert np.isfinite([vae.frechet, gan.frechet, first.floor]).all()
    assert onnx.load(out / "vae-gan/encoder.onnx").graph.output[0].name == "mu"

    files = write_report(first, out, command="facestream-train compare", note="a toy")
    assert all(file.stat().st_size > 0 for file in files)
    report = json.loads(files[0].read_text())
    assert [r["name"] for r in report["results"]] == ["vae-gan", "gan"]
    assert str(tmp_path) not in files[0].read_text() + files[1].read_text()
    assert "| VAE-GAN, conv |" in files[1].read_text()

    before = (out / "gan" / RESULT).stat().st_mtime_ns, (out / "gan/last.pt").stat().st_mtime_ns
    told.clear()
    again = compare(config, out, progress=lambda what, *_: told.add(what))
    assert not {"vae-gan", "gan"} & told
    assert [r.frechet for r in again.results] == [r.frechet for r in first.results]
    after = (out / "gan" / RESULT).stat().st_mtime_ns, (out / "gan/last.pt").stat().st_mtime_ns
    assert after == before

    with pytest.raises(TrainingError, match=r"other settings \(a budget of 8 pictures\)"):
        compare(config.model_copy(update={"pictures": 12}), out)


def test_an_interrupted_contender_goes_on(config: CompareConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"contenders": ("vae-conv",), "pictures": 16})

    def stop(what: str, done: int, total: int, values: dict[str, float], /) -> None:
        raise KeyboardInterrupt

    whole = compare(config, tmp_path / "whole").results[0]
    # Saved at steps 1 to 4, told at the last: stopped there, before it is measured.
    with pytest.raises(KeyboardInterrupt):
        compare(
            config,
            tmp_path / "cut",
            progress=lambda what, *rest: stop(what, *rest) if what == "vae-conv" else None,
        )
    assert not (tmp_path / "cut/vae-conv" / RESULT).exists()
    assert (tmp_path / "cut/vae-conv/last.pt").exists()
    resumed = compare(config, tmp_path / "cut").results[0]
    assert resumed.psnr == pytest.approx(whole.psnr, abs=0.05)
    assert resumed.frechet == pytest.approx(whole.frechet, rel=0.02)


@pytest.mark.parametrize("name", ["vae-conv", "vae-mobile", "vae-residual", "vae-vit", "gan"])
def test_networks_of_each_contender(name: str, tmp_path: Path) -> None:
    contender = CONTENDERS[name]
    module = ContenderModule(contender, dim=LATENT_DIM + 8, teacher=tmp_path / "none.onnx")
    assert (module.encoder is None) == (contender.objective == "gan")
    assert (module.discriminator is None) == (contender.objective == "vae")
    assert module.decoder.dim == LATENT_DIM + 8


def test_sface_is_the_first_half_of_mu(shared_data: Path) -> None:
    from facestream.training.models.sface import load_sface
    from facestream.training.models.vae import make_vae

    teacher = shared_data / "models/face_recognition_sface_2021dec.onnx"
    module = ContenderModule(CONTENDERS["vae-mobile-sface"], dim=LATENT_DIM + 8, teacher=teacher)
    sface = make_vae("mobile").encoder.eval()
    load_sface(sface, teacher)
    faces = torch.rand(2, 3, 112, 112) * 255
    assert module.encoder is not None
    with torch.no_grad():
        mu, _ = module.encoder.eval()(faces)
        wanted, _ = sface(faces)
    assert mu.shape == (2, LATENT_DIM + 8)
    torch.testing.assert_close(mu[:, :LATENT_DIM], wanted, atol=1e-4, rtol=1e-4)


def test_some_faces_lose_their_colour() -> None:
    faces = torch.rand(4, 3, 5, 5) * 255
    seen = without_colour(faces, 1)
    red, green, blue = faces[0].double().numpy()
    for channel in seen[0].numpy():
        np.testing.assert_allclose(channel, 0.299 * red + 0.587 * green + 0.114 * blue, rtol=1e-5)
    assert torch.equal(seen[1:], faces[1:])


def test_samples_are_pictures_and_the_same_for_a_seed() -> None:
    decoder = Decoder(dim=16, widths=(8, 8, 8, 8)).eval()
    first, again = (draw_samples(decoder, 5, seed=3) for _ in range(2))
    assert first.shape == (5, 112, 112, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    edges = to_pictures(torch.tensor([-2.0, -1.0, 0.0, 1.0]).view(4, 1, 1, 1).expand(4, 3, 1, 1))
    assert edges[:, 0, 0, 0].tolist() == [0, 0, 128, 255]


def test_unknown_contender_and_empty_data(config: CompareConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no contender is called 'vae-huge'; choose from vae-"):
        chosen(config.model_copy(update={"contenders": ("vae-huge",)}))
    empty = config.model_copy(update={"data": tmp_path / "nothing"})
    with pytest.raises(DataError, match="no training faces in"):
        compare(empty, tmp_path / "out")


def test_damaged_result_is_named(config: CompareConfig, tmp_path: Path) -> None:
    folder = tmp_path / "out/vae-gan"
    folder.mkdir(parents=True)
    (folder / RESULT).write_text("{}")
    with pytest.raises(TrainingError, match=r"result\.json is damaged or of another version"):
        compare(config, tmp_path / "out")


def test_report_shows_what_is_missing_as_missing(config: CompareConfig) -> None:
    result = Result(
        name="gan",
        title="GAN",
        config=config,
        pictures=8,
        train_speed=1.0,
        parameters_encoder=None,
        parameters_decoder=1_000_000,
        macs=None,
        frechet=123.45,
    )
    lfw = result.model_copy(
        update={"name": "x", "title": "X", "lfw": 0.9876, "lfw_95": (0.98, 0.99)}
    )
    both = DesignComparison(results=[result, lfw], floor=1.5, held=7, revision="abc")
    text = as_markdown(both, command="c", note="n")
    assert "| GAN | – | – | – | – | – | 123.5 | – | 1.0 | – | – |" in text
    assert "| X | 98.8% (98.0 to 99.0) |" in text
    assert "config" not in as_json(both, command="c", note="n")["results"][0]
