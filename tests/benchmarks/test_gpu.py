"""The steps of ``make gpu``, without a GPU: order, limits, and what is kept of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu import STEPS, Step, main, run_steps


def test_they_fit_into_ten_minutes() -> None:
    assert sum(step.seconds for step in STEPS) <= 600
    assert [step.name for step in STEPS[:3]] == ["doctor", "tests", "parity"]


def test_a_step_that_fails_or_hangs_keeps_none_from_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hangs = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('kept')"
    steps = [
        Step("fails", 60, ("python", "-c", "raise SystemExit(3)")),
        Step("hangs", 5, ("python", "-u", "-c", hangs)),
        Step("writes", 60, ("python", "-c", "open('{out}/found', 'w').write('it')")),
    ]
    done = run_steps(steps, tmp_path / "out", minutes=5)
    assert [one.status for one in done] == [3, None, 0]
    assert (tmp_path / "out/found").read_text() == "it"
    assert (tmp_path / "out/hangs.txt").read_text() == "kept\n"
    rows = json.loads((tmp_path / "out/summary.json").read_text())
    assert [(row["name"], row["status"]) for row in rows] == [
        ("fails", 3), ("hangs", None), ("writes", 0)
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert all(text in said for text in ("status 3", "not in time", "ok"))


def test_what_has_no_time_left_is_not_begun(tmp_path: Path) -> None:
    (one,) = run_steps([Step("late", 60, ("python", "-c", ""))], tmp_path, minutes=0)
    assert (one.status, (tmp_path / "late.txt").exists()) == (None, False)


def test_without_a_gpu_the_doctor_still_reports(tmp_path: Path) -> None:
    main(["--step", "doctor", "--out", str(tmp_path)])
    assert "openvino" in (tmp_path / "doctor.txt").read_text()
