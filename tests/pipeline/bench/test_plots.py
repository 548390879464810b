"""Each suite is drawn as PNG and SVG; without matplotlib one is told how to get it."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest
from facestream.pipeline.bench.plots import check_matplotlib, write_plots
from facestream.pipeline.bench.results import Scalar
from facestream.pipeline.bench.suites import SUITES
from facestream.pipeline.core.errors import UsageError

from tests.pipeline.bench.examples import of_every_suite, results, row


def test_every_suite_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = write_plots(of_every_suite(), tmp_path)
    assert {file.name for file in files} == {f"{s}.{e}" for s in SUITES for e in ("png", "svg")}
    for file in files:
        if file.suffix == ".png":
            picture = cv2.imread(str(file))
            assert picture is not None
            assert picture.std() > 5  # not blank
        else:
            assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_a_roofline_without_its_peaks_still_shows_the_networks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found: tuple[dict[str, Scalar], ...] = ({"intensity": 50.0}, {"gflop": 1.0})
    for number, checks in enumerate(found):
        lonely = row("roofline", "openvino float32", work="vae_encoder", batch=8, checks=checks)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert len(write_plots(results(lonely), folder)) == 2


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    assert write_plots(results(), tmp_path) == []


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'facestream\[bench\]'"):
        check_matplotlib()
