"""``python -m benchmarks suite``: files, comparison, interruption, and errors in one line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from facestream.pipeline.cli.bench_results import Scalar, load_results

from benchmarks.__main__ import COMMANDS, main
from benchmarks.suite import Case
from benchmarks.suites import SUITES
from benchmarks.suites.detect import DetectSuite
from tests.benchmarks.examples import MACHINE, of_several_suites, results, row

TINY = ["--quick", "--rounds", "1", "--seconds", "0.02", "--no-peers"]
DETECT = ["suite", "detect", "--only", "size=480p", "--only", "faces=1"]


def test_a_suite_writes_json_tables_and_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out, page, plots = tmp_path / "b.json", tmp_path / "b.md", tmp_path / "plots"
    files = ["--json", str(out), "--markdown", str(page), "--plot", str(plots)]
    assert main([*DETECT, "--only", "batch=1", *TINY, *files]) == 0
    written = load_results(out)
    assert written.complete
    assert written.arguments["suites"] == ["detect"]
    ours = {"facestream fast", "facestream exact", "facestream openvino"}
    assert {row.contender for row in written.rows} == ours
    assert "Other libraries were not measured (--no-peers)." in written.notes
    assert "## detect" in page.read_text()
    assert sorted(file.name for file in plots.iterdir()) == ["detect.png", "detect.svg"]
    assert "facestream exact" in capsys.readouterr().out


def test_scaling_has_times_and_efficiency(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    asked = ["--only", "part=search", "--json", str(out)]
    assert main(["suite", "scale", *asked, *TINY]) == 0
    rows = load_results(out).rows
    first = next(row for row in rows if row.case["threads"] == 1)
    assert (first.checks["times"], first.checks["efficiency"]) == (1.0, 1.0)
    assert all(float(str(row.checks["efficiency"])) > 0 for row in rows)


def test_whole_videos_by_faces_a_frame(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    asked = ["suite", "e2e", "--only", "size=480p", "--only", "faces=1", "--max-frames", "5"]
    asked += ["--contender", "facestream-every", "--json", str(out)]
    assert main([*asked, *TINY]) == 0
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

    def check(suite: DetectSuite, case: Case, answers: object) -> dict[str, dict[str, Scalar]]:
        if case.key["batch"] == 8:
            os.kill(os.getpid(), number)
        return {}

    monkeypatch.setattr(DetectSuite, "check", check)
    asked = ["--contender", "exact", "--json", str(out)]
    assert main([*DETECT, *asked, *TINY]) == 130
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
    assert main(["suite", *asked]) == 0
    assert "SLOWER" in capsys.readouterr().out
    assert "| SLOWER |" in page.read_text()


def test_figures_of_another_machine_are_a_loud_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results(row(), machine={**MACHINE, "cpu": "Another"}).save(old)
    of_several_suites().save(new)
    assert main(["suite", "--from", str(new), "--compare", str(old)]) == 0
    captured = capsys.readouterr()
    assert "WARNING: NOT COMPARED" in captured.err
    assert "new / old" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "{tmp}/nothing.json"], "cannot read"),
        (["--compare", "{tmp}/text.json"], "is not JSON"),
        (["--from", "{tmp}/nothing.json"], "cannot read"),
        (["--json", "{tmp}/no/b.json"], "there is no folder"),
        (["--markdown", "{tmp}"], "it is a folder"),
        (["--plot", "{tmp}/text.json"], "as a folder"),
        (["detect", "--zoo", "{tmp}/nothing"], "--zoo names"),
        (["detect", "--only", "size"], "--only takes KEY=VALUE"),
        (["detect", "--only", "colour=red"], "no case has 'colour'"),
        (["detect", "--only", "size=4k"], "nothing was measured"),
        (["detect", "--contender", "nobody"], "nothing was measured"),
        (["speed"], "invalid choice: 'speed'"),
        ([], "name a suite: detect"),
        (["detect", "--rounds", "0"], "--rounds"),
        (["e2e", "nowhere.mp4"], "nowhere.mp4 is not a file"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.json").write_text("hello")
    given = [text.replace("{tmp}", str(tmp_path)) for text in arguments]
    try:
        status: object = main(["suite", *given])
    except SystemExit as error:  # argparse
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "}
    assert listed == {*COMMANDS, *SUITES}
    assert main(["nothing"]) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"python -m benchmarks {command}" in capsys.readouterr().out


def test_the_file_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    example = of_several_suites().to_json()
    for name in (*example, *example["rows"][0], *example["machine"], *example["missing"][0]):
        assert f"`{name}`" in page, name
    assert json.dumps(example)
