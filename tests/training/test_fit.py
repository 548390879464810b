"""Whole runs on small made data: the record, resuming, faults and guards."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from facestream.training.cli.console import validated
from facestream.training.data.training_views import SeededBatches
from facestream.training.errors import CheckpointError, CollapseError, DataError, TrainingError
from facestream.training.fit.checkpoint import (
    load_checkpoint,
    load_encoder,
    restore_encoder,
    save_checkpoint,
)
from facestream.training.fit.config import FitConfig, LossWeights
from facestream.training.fit.loop import BEST, LAST
from facestream.training.fit.prepared import prepare
from facestream.training.fit.run import fit
from facestream.training.fit.trunk import TrunkFeatures, split_trunk
from facestream.training.losses.margin import MarginKind, labelled_loss
from facestream.training.models.vae import make_vae
from facestream.training.progress import silent
from facestream.training.record import write_json

from .conftest import write_set


def curve(run: Path) -> list[dict[str, str]]:
    with (run / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["speed"]  # the only thing that a clock decides
    return rows


class Stop(Exception):
    """The interruption."""


def stop_at(step: int):  # type: ignore[no-untyped-def]
    def progress(what: str, done: int, total: int, values: object = None) -> None:
        if what == "fit" and done == step:
            raise Stop

    return progress


def test_a_resumed_run_goes_on_with_the_same_curve(small_config: FitConfig, tmp_path: Path) -> None:
    figures = fit(small_config, tmp_path / "whole")
    assert 0 <= figures["distil"] <= 2
    with pytest.raises(Stop):
        fit(small_config, tmp_path / "parts", progress=stop_at(5))
    fit(small_config, tmp_path / "parts", resume=tmp_path / "parts" / LAST)
    assert len(curve(tmp_path / "whole")) == 6
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")
    one, other = (load_checkpoint(tmp_path / run / LAST)["model"] for run in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_record_lies_beside_the_checkpoint(small_config: FitConfig, tmp_path: Path) -> None:
    fit(small_config.model_copy(update={"steps": 3}), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        LAST, BEST, "config.json", "manifest.json", "run.json", "curve.csv", "validation.csv",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert {entry["name"] for entry in manifest} == {"people", "utkface"}
    assert set(json.loads((tmp_path / "run/run.json").read_text())) == {"git", "torch", "seed"}
    encoder, config = load_encoder(tmp_path / "run" / LAST)
    assert config.steps == 3
    assert not encoder.training


def test_frozen_parts_do_not_change(small_config: FitConfig, tmp_path: Path) -> None:
    config = small_config.model_copy(update={"trunk": "frozen", "steps": 3})
    fit(config, tmp_path / "run")
    torch.manual_seed(config.seed)
    fresh = make_vae(config.backbone).encoder.backbone.state_dict()
    trained = load_encoder(tmp_path / "run" / LAST)[0].backbone.state_dict()
    assert all(torch.equal(fresh[name], trained[name]) for name in fresh)


@pytest.fixture
def tail_config(small_config: FitConfig, tmp_path: Path) -> FitConfig:
    """The last two blocks of a mobile trunk, from a checkpoint, with a margin."""
    start = small_config.model_copy(update={"backbone": "mobile", "trunk": "frozen", "steps": 1})
    fit(start, tmp_path / "start")
    return start.model_copy(
        update={
            "steps": 3,
            "start": "checkpoint",
            "init": tmp_path / "start" / LAST,
            "trunk": "tail",
            "tail": 2,
            "lr_mu": 1e-3,
            "lr_trunk": 1e-3,
            "centre_pull": 0.3,
            "weights": LossWeights(margin=0.1, reconstruction=0),
        }
    )


def run_in_two_processes(config: FitConfig, folder: Path) -> subprocess.CompletedProcess[str]:
    """``fit`` with two CPU processes (gloo); a run that hangs is an error."""
    settings = config.model_copy(update={"devices": 2})
    (folder / "settings.json").write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "facestream.training", "fit"]
    command += ["--config", str(folder / "settings.json"), "--out", str(folder / "run")]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=folder)


def test_two_processes_train_one_model(small_config: FitConfig, tmp_path: Path) -> None:
    done = run_in_two_processes(small_config.model_copy(update={"steps": 3}), tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in curve(tmp_path / "run")] == ["1", "2", "3"]
    assert done.stdout.count("tar_degraded") == 1
    assert load_checkpoint(tmp_path / "run" / LAST)["step"] == 3


def test_a_process_whose_batch_has_no_labels_takes_part(
    small_config: FitConfig, tmp_path: Path
) -> None:
    """Two people among many strangers: one process has none of them in some batches."""
    folder = tmp_path / "few"
    folder.mkdir()
    members = {f"{p}/{p}_{i}.webp": 10 * p + i for p in range(4) for i in range(2)}
    members |= {f"x/{i}.webp": 500 + i for i in range(40)}
    write_set(folder, "people", members, listed=set(members))
    config = small_config.model_copy(
        update={"data": folder, "batch": 4, "weights": LossWeights(margin=0.5, reconstruction=0)}
    )
    data = prepare(config, silent)
    batches = [
        SeededBatches(len(data.train), 4, seed=0, first=0, steps=6, shard=(r, 2)) for r in (0, 1)
    ]
    labelled = [
        [bool((data.labels[[i for _, i in batch]] >= 0).any()) for batch in rank]
        for rank in batches
    ]
    assert any(one != other for one, other in zip(*labelled, strict=True))
    done = run_in_two_processes(config, tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run" / LAST)["step"] == 6


def test_settings_may_use_their_old_names() -> None:
    """Files and checkpoints of earlier versions call the uncertainty's weight ``doubt``."""
    old = {"data": "d", "teacher": "t", "weights": {"doubt": 0.3, "kl": 0.02}}
    assert FitConfig.model_validate(old).weights == LossWeights(uncertainty=0.3, kl=0.02)
    assert validated(FitConfig, old, ["weights.uncertainty=2"]).weights.uncertainty == 2
    new = {"data": "d", "teacher": "t", "weights": {"uncertainty": 0.3}}
    assert validated(FitConfig, new, ["weights.doubt=2"]).weights.uncertainty == 2


def test_the_decoder_may_learn_by_cross_entropy(small_config: FitConfig, tmp_path: Path) -> None:
    config = small_config.model_copy(update={"steps": 2, "reconstruction": "bce"})
    fit(config, tmp_path / "run")
    # The entropy of a picture is far above its squared error.
    assert all(0.4 < float(row["reconstruction"]) < 1.5 for row in curve(tmp_path / "run"))


def test_only_the_tail_is_trained(tail_config: FitConfig, tmp_path: Path) -> None:
    fit(tail_config, tmp_path / "run")
    before = load_encoder(tmp_path / "start" / LAST)[0].backbone.state_dict()
    after = load_encoder(tmp_path / "run" / LAST)[0].backbone.state_dict()
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"11", "12"}


@pytest.mark.parametrize("kind", get_args(MarginKind))
def test_every_margin_brings_people_to_their_centres(kind: MarginKind) -> None:
    torch.manual_seed(0)
    centres = torch.randn(5, 16)
    labels = torch.arange(5).repeat(4)
    mu = torch.nn.Parameter(torch.randn(20, 16))
    logvar = torch.nn.Parameter(torch.full((20, 16), -1.0))
    optimizer = torch.optim.Adam([mu, logvar], lr=0.1)
    losses = []
    for _ in range(40):
        noise = torch.randn(20, 16)
        loss = labelled_loss(kind, mu, logvar, centres, labels, noise=noise)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    # Only DUL lets labels teach sigma.
    moved = not torch.equal(logvar.detach(), torch.full((20, 16), -1.0))
    assert moved == (kind == "dul")


def test_front_and_tail_are_the_whole_trunk(tail_config: FitConfig) -> None:
    backbone = make_vae("mobile").encoder.backbone.eval()
    faces = torch.rand(3, 3, 112, 112) * 255
    with torch.no_grad():
        last, means = TrunkFeatures(backbone)(faces)
        trunk = split_trunk(backbone, tail_config, torch.device("cpu"))
        ours, our_means = trunk(faces)
    # The front runs in the engine's reduced precision where the CPU has it.
    assert cosine(ours, last) > 0.99
    assert our_means.shape == means.shape
    assert cosine(our_means, means) > 0.99


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two tensors as a whole; exact for the tiny values of a net with fresh weights, too."""
    a, b = a.double().flatten(), b.double().flatten()
    return float(a @ b / (a.norm() * b.norm()))


def test_a_trunk_that_cannot_be_cut_is_named(small_config: FitConfig, tmp_path: Path) -> None:
    config = small_config.model_copy(update={"trunk": "tail"})
    with pytest.raises(TrainingError, match="only the 'mobile' trunk can be trained in part"):
        fit(config, tmp_path / "run")


def test_a_margin_needs_two_people(small_config: FitConfig, tmp_path: Path) -> None:
    config = small_config.model_copy(
        update={
            "datasets": ("utkface",),
            "held_out_percent": 50,
            "weights": LossWeights(margin=1.0),
        }
    )
    with pytest.raises(DataError, match="at least two people with several pictures"):
        fit(config, tmp_path / "run")


def test_too_little_data_is_said(small_config: FitConfig, tmp_path: Path) -> None:
    config = small_config.model_copy(update={"limit": 1})
    with pytest.raises(DataError, match="too few pictures"):
        fit(config, tmp_path / "run")


def test_a_loss_that_is_no_number_keeps_the_checkpoint(
    small_config: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facestream.training.fit import identity_task as module

    def broken(mu: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        value = torch.nn.functional.mse_loss(mu, target)
        return value * float("nan") if len(calls) > 4 else value

    calls: list[int] = []
    monkeypatch.setattr(module, "cosine_distance", broken)
    with pytest.raises(CollapseError, match="loss is nan at step 4"):
        fit(small_config, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / LAST)["step"] == 3


def test_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    state = {"model": make_vae("residual", dim=8).state_dict(), "config": "{}", "step": 1}
    save_checkpoint(tmp_path / "a.pt", state)
    with pytest.raises(CheckpointError, match="of another architecture"):
        restore_encoder(
            make_vae("residual", dim=16).encoder,
            load_checkpoint(tmp_path / "a.pt"),
            tmp_path / "a.pt",
        )


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "b.pt")


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"model": {}, "config": "{}", "step": 1})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="the one before it is untouched"):
        save_checkpoint(path, {"model": {}, "config": "{}", "step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_json_has_no_numbers_that_json_lacks(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": float("inf"), "b": [1.5, float("nan")], "c": (2,)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1.5, None], "c": [2]}
