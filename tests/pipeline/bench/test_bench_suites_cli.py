"""``facestream bench --suite``: files, comparison, Ctrl-C, and mistakes told in one line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from facestream.pipeline.bench.results import load_results
from facestream.pipeline.cli import bench_report, main

from tests.pipeline.bench.examples import (
    MACHINE,
    of_every_suite,
    results,
    row,
)

TINY = ["--quick", "--rounds", "1", "--seconds", "0.02", "--no-peers"]
DETECT = ["--suite", "detect", "--only", "size=480p", "--only", "faces=1"]


def test_a_suite_writes_json_tables_and_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out, page, plots = tmp_path / "b.json", tmp_path / "b.md", tmp_path / "plots"
    files = ["--json", str(out), "--markdown", str(page), "--plot", str(plots)]
    assert main(["bench", *DETECT, "--only", "batch=1", *TINY, *files]) == 0
    written = load_results(out)
    assert written.complete
    assert written.arguments["suites"] == ["detect"]
    assert {row.contender for row in written.rows} == {"facestream fast", "facestream exact"}
    assert "Peers were not measured; --peers measures them." in written.notes
    assert "## detect" in page.read_text()
    assert sorted(file.name for file in plots.iterdir()) == ["detect.png", "detect.svg"]
    assert "energy" in capsys.readouterr().out


def test_the_roofline_gives_shares_of_measured_peaks(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    only = ["copy", "matmul 1024", "mtcnn_onet"]
    asked = [part for work in only for part in ("--only", f"work={work}")]
    asked += ["--contender", "float32", "--json", str(out)]
    assert main(["bench", "--suite", "roofline", *asked, *TINY]) == 0
    rows = load_results(out).rows
    (network,) = [row for row in rows if row.case["work"] == "mtcnn_onet"]
    (peak,) = [max(row.rounds) for row in rows if row.case["work"] == "matmul 1024"]
    assert network.checks["share_of_peak"] == pytest.approx(network.median / peak, abs=1e-4)
    assert network.checks["intensity"] == pytest.approx(210.9, abs=0.1)


def test_scaling_has_times_and_efficiency(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    asked = ["--only", "part=search", "--json", str(out)]
    assert main(["bench", "--suite", "scale", *asked, *TINY]) == 0
    rows = load_results(out).rows
    first = next(row for row in rows if row.case["threads"] == 1)
    assert (first.checks["times"], first.checks["efficiency"]) == (1.0, 1.0)
    assert all(float(str(row.checks["efficiency"])) > 0 for row in rows)


def test_whole_videos_by_faces_a_frame(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    asked = ["--suite", "e2e", "--only", "size=480p", "--only", "faces=1", "--max-frames", "5"]
    asked += ["--contender", "facestream-every", "--json", str(out)]
    assert main(["bench", *asked, *TINY]) == 0
    (row,) = load_results(out).rows
    assert dict(row.case) == {"size": "480p", "faces": 1, "sources": 1}
    assert row.checks["faces_per_frame"] == 1.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_what_was_measured(
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "b.json"

    def doing(bar: bench_report.Bar, text: str) -> None:
        if "batch 8" in text:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(bench_report.Bar, "doing", doing)
    asked = ["--contender", "exact", "--json", str(out)]
    assert main(["bench", *DETECT, *asked, *TINY]) == 130
    written = load_results(out)
    assert not written.complete
    assert [row.case["batch"] for row in written.rows] == [1]
    assert "WARNING: interrupted" in capsys.readouterr().out


def test_results_are_compared_with_older_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, page = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "b.md"
    results(row(rounds=(200.0, 201.0, 199.0))).save(old)
    results(row()).save(new)
    asked = ["--from", str(new), "--compare", str(old), "--markdown", str(page)]
    assert main(["bench", *asked]) == 0
    assert "SLOWER" in capsys.readouterr().out
    assert "| SLOWER |" in page.read_text()


def test_figures_of_another_machine_are_a_loud_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results(row(), machine={**MACHINE, "cpu": "Another"}).save(old)
    of_every_suite().save(new)
    assert main(["bench", "--from", str(new), "--compare", str(old)]) == 0
    captured = capsys.readouterr()
    assert "WARNING: NOT COMPARED" in captured.err
    assert "new / old" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--compare", "{tmp}/nothing.json"], "cannot read"),
        (["--compare", "{tmp}/text.json"], "is not JSON"),
        (["--from", "{tmp}/nothing.json"], "cannot read"),
        (["--json", "{tmp}/no/b.json"], "there is no folder"),
        (["--markdown", "{tmp}"], "it is a folder"),
        (["--plot", "{tmp}/text.json"], "as a folder"),
        (["--zoo", "{tmp}/nothing"], "--zoo names"),
        (["--only", "size"], "--only takes KEY=VALUE"),
        (["--only", "colour=red"], "no case has 'colour'"),
        (["--suite", "detect", "--only", "size=4k"], "nothing was measured"),
        (["--suite", "detect", "--contender", "nobody"], "nothing was measured"),
        (["--suite", "speed"], "speed"),
        (["--rounds", "0"], "rounds"),
        (["nowhere.mp4", "--suite", "e2e"], "nowhere.mp4 is not a file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.json").write_text("hello")
    given = [text.replace("{tmp}", str(tmp_path)) for text in arguments]
    assert main(["bench", *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert told in error[-1]
    assert error[-1].startswith("facestream: ")


def test_the_file_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    example = of_every_suite().to_json()
    for name in (*example, *example["rows"][0], *example["machine"], *example["missing"][0]):
        assert f"`{name}`" in page, name
    assert json.dumps(example)
