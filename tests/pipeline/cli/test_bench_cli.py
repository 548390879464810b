"""``facestream bench`` measures in fresh processes, compares, and keeps what was measured."""

from __future__ import annotations

import json
import os
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.cli import bench_worker, main
from facestream.pipeline.cli.bench_results import load_results

from tests.faces import face_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("bench") / "walk.mp4", frames=12)


def test_it_reports_speed_latency_memory_start_and_stages(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "bench.json", tmp_path / "again.json"
    assert main(["bench", str(clip), "--rounds", "1", "--json", str(out), "--note", "alone"]) == 0
    results = load_results(out)
    assert results.complete
    assert results.notes == ["alone"]
    assert results.arguments["videos"] == ["walk.mp4"]
    speed, *others = results.rows
    assert speed.unit == "frames/s"
    assert speed.checks["faces_per_frame"] == 1.0
    assert speed.detail["frames"] == 12
    assert 0 < speed.detail["embedded"] < 12
    assert set(speed.detail["stage_shares"]) == {"detect", "recognise"}
    assert all(0 < share <= 1 for share in speed.detail["stage_shares"].values())
    figures = {str(row.case["measure"]): row.median for row in others}
    assert 0 < figures["latency p50"] <= figures["latency p95"]
    assert figures["peak memory"] > 50
    assert figures["start to first result"] > 0
    shown = capsys.readouterr().out
    assert "Busy share of each stage: detect" in shown
    # The same file without a measurement, compared with itself.
    asked = ["--from", str(out), "--compare", str(out), "--json", str(again)]
    assert main(["bench", *asked]) == 0
    assert json.loads(again.read_text()) == json.loads(out.read_text())
    assert "5 rows compared: 0 worse beyond the noise, 0 better" in capsys.readouterr().out


def test_what_got_slower_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.benchmarks.examples import results, row

    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results(row(rounds=(200.0, 201.0, 199.0))).save(old)
    results(row()).save(new)
    assert main(["bench", "--from", str(new), "--compare", str(old)]) == 0
    assert "SLOWER" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_with_130_and_keeps_complete_rounds(
    number: signal.Signals,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, calls = tmp_path / "bench.json", count(1)
    measure = bench_worker.measure

    def interrupted_in_the_second_round(*request: Any) -> dict[str, Any]:
        if next(calls) == 4:
            os.kill(os.getpid(), number)
        return measure(*request)

    monkeypatch.setattr(bench_worker, "measure", interrupted_in_the_second_round)
    assert main(["bench", str(clip), "--max-frames", "2", "--json", str(out)]) == 130
    results = load_results(out)
    assert not results.complete
    assert {len(row.rounds) for row in results.rows} == {1}
    assert "WARNING: interrupted" in capsys.readouterr().out


def test_a_video_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    assert main(["bench", str(broken)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"facestream: the bench of {broken} failed: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4 is not a file; name a video"),
        (["--suite", "detect"], "'python -m benchmarks suite detect'"),
        (["--suite", "all", "--plot", "p"], "'python -m benchmarks suite all'"),
        (["--peers"], "'python -m benchmarks suite NAME'"),
        (["--markdown", "b.md"], "'python -m benchmarks suite NAME'"),
        (["--compare", "{tmp}/nothing.json"], "cannot read"),
        (["--from", "{tmp}/text.json"], "is not JSON"),
        (["--json", "{tmp}/no/b.json"], "there is no folder"),
        (["--rounds", "0"], "rounds"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.json").write_text("hello")
    assert main(["bench", *(text.replace("{tmp}", str(tmp_path)) for text in arguments)]) == 2
    *_, error = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("facestream: ")
    assert message in error
