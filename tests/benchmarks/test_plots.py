"""Each suite is drawn as PNG and SVG; without matplotlib the error says how to get it."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest
from facestream.pipeline.core.errors import UsageError

from benchmarks.plots import figure_class, write_plots
from tests.benchmarks.examples import of_several_suites, results


def test_every_suite_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = write_plots(of_several_suites(), tmp_path)
    assert {file.name for file in files} == {
        f"{suite}.{ending}"
        for suite in ("detect", "embed", "search", "e2e", "scale", "views")
        for ending in ("png", "svg")
    }
    for file in files:
        if file.suffix == ".png":
            picture = cv2.imread(str(file))
            assert picture is not None
            assert picture.std() > 5  # not blank
        else:
            assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    assert write_plots(results(), tmp_path) == []


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'facestream\[bench\]'"):
        figure_class()
