"""Plots: what is read, what is computed, and that pictures with something on them come out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.images import read_image
from facestream.training import cli
from facestream.training.errors import DataError
from facestream.training.evaluation.plots import (
    plot_curves,
    plot_rejects,
    plot_sigma,
    plot_verification,
    read_curve,
    roc,
)
from facestream.training.evaluation.protocol import Interval
from facestream.training.evaluation.rejection import LEVELS, SHARES, SIGMA_KINDS, Monotony, Reject
from facestream.training.record import Curve
from sklearn.metrics import roc_curve  # type: ignore[import-untyped]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    curve = Curve(folder / "curve.csv", first=0)
    for step in range(1, 80):
        curve.add({"step": step, "rate": 0.1, "loss": 100 / step**2, "kl": float("nan")})
    scores = Curve(folder / "validation.csv", first=0)
    scores.add({"step": 0, "distil": 0.4})
    scores.add({"step": 79, "distil": 0.1})
    return folder


def drawn(path: Path) -> bool:
    """A picture of some size that is not of one colour."""
    image = read_image(path)
    return min(image.shape[:2]) > 200 and float(image.std()) > 5


def test_curves_of_several_runs(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Curve(other / "curve.csv", first=0).add({"step": 5, "loss": 3.0, "gan": 1.0})
    assert plot_curves({"run": run, "other": other}, tmp_path / "out/curves.png") == [
        "loss", "kl", "gan", "distil",
    ]  # fmt: skip
    assert drawn(tmp_path / "out/curves.png")
    columns = read_curve(run / "validation.csv")
    assert columns["step"].tolist() == [0, 79]
    assert columns["distil"].tolist() == [0.4, 0.1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no .*; give the folder of a training run"),
        ("", "no steps in it yet"),
        ("step,loss\n", "no steps in it yet"),
        ("step,loss\n1,hello\n", "not a table of numbers"),
    ],
)
def test_what_is_no_curve_is_said(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "curve.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        plot_curves({"run": tmp_path}, tmp_path / "curves.png")


def test_a_row_that_a_crash_cut_short(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("step,loss\n1,2.5\n2")
    assert np.isnan(read_curve(tmp_path / "curve.csv")["loss"][1])


def test_roc_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.6, 0.2, 300), rng.normal(0.1, 0.2, 400)
    far, tar = roc(genuine, impostor)
    truth = np.repeat([1, 0], (300, 400))
    fpr, tpr, _ = roc_curve(truth, np.concatenate([genuine, impostor]), drop_intermediate=False)
    for rate in (0.01, 0.1, 0.5):
        assert tar[np.isclose(far, rate)][0] == pytest.approx(tpr[np.isclose(fpr, rate)].min())


def test_evaluation_plots(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plot_verification(
        {n: (rng.normal(0.6, 0.1, 400), rng.normal(0, 0.1, 400)) for n in ("ours", "theirs")},
        tmp_path / "lfw.png",
        threshold=0.3,
    )
    none = Interval(0.0, 0.0, 0.0)
    curve = {name: [0.1 * (1 - share) for share in SHARES] for name in ("sigma", "baseline")}
    rejects = [
        Reject(name, 0.5, 0, 9, 0.1, 0.05, none, 0.07, none, 0.08, 0.0, list(SHARES), curve)
        for name in ("mild", "strong")
    ]
    plot_rejects(rejects, tmp_path / "reject.png")
    by_kind: dict[str, list[float]] = {
        kind: [1 + level for level in LEVELS] for kind in SIGMA_KINDS
    }
    rank = dict.fromkeys(by_kind, 0.9)
    plot_sigma(Monotony(rank, {}, list(LEVELS), by_kind), tmp_path / "sigma.png")
    assert all(drawn(tmp_path / name) for name in ("lfw.png", "reject.png", "sigma.png"))


def test_the_command(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["facestream-train", "curves", str(run)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert drawn(run / "curves.png")
    assert "3 figures of 1 run" in capsys.readouterr().out
