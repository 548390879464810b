"""The comparison of two checkouts: sizes, pairs of rounds, and files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.house import main, sizes, table


def test_lines_and_files_are_counted_by_folder(tmp_path: Path) -> None:
    (tmp_path / "engines" / "cuda").mkdir(parents=True)
    (tmp_path / "engines" / "a.py").write_text("1\n2\n")
    (tmp_path / "engines" / "cuda" / "b.py").write_text("3\n")
    (tmp_path / "engines" / "c.txt").write_text("no Python\n")
    found = dict(sizes(tmp_path, tmp_path))
    assert (found["engines, files"], found["engines, lines"]) == (2, 3)
    assert (found["pipeline, files"], found["all lines"]) == (0, 3)
    assert found["environment, MB"] >= 0


def test_a_ratio_is_the_median_of_pairs() -> None:
    text = table({"before": {"s": [1.0, 10.0, 4.0]}, "after": {"s": [2.0, 5.0, 12.0]}})
    assert text.splitlines()[-1] == "| s | 4 | 5 | 2.00 |"


def test_two_sides_are_measured_in_one_run(tmp_path: Path) -> None:
    out, page = tmp_path / "house.json", tmp_path / "house.md"
    asked = ["--python", sys.executable, "--rounds", "2", "--json", str(out)]
    assert main([*asked, "--markdown", str(page)]) == 0
    figures = json.loads(out.read_text())["figures"]
    assert list(figures) == ["before", "after"]
    for side in figures.values():
        assert len(side["import facestream.pipeline, ms"]) == 2
        assert min(side["facestream --help, ms"]) > 0
        assert side["pipeline, lines"][0] > 0
    assert page.read_text().startswith("|   | before | after | after / before |")
