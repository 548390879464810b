"""``facestream bench`` measures in fresh processes and says what limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from facestream.pipeline.bench.contenders import Task, contenders, missing
from facestream.pipeline.bench.runner import ContenderFailed, compare, measure
from facestream.pipeline.cli import main

from tests.faces import face_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("bench") / "walk.mp4", frames=12)


def test_the_bench_reports_speed_stages_and_the_limiting_queue(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    assert main(["bench", str(clip), "--rounds", "1", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    (video,) = result["summary"]
    assert set(video["contenders"]) == {"facestream", "facestream-every"}
    assert video["contenders"]["facestream"]["speed_ratio"] == 1.0
    run = result["runs"][0]
    assert (run["frames"], run["faces"]) == (12, 12)
    assert set(run["detail"]["stages"]) == {"detect", "recognise"}
    assert run["detail"]["embedded"] < 12
    assert result["runs"][1]["detail"]["embedded"] == 12
    assert result["start_to_first_result_seconds"] > 0
    assert "in the stages: detect" in capsys.readouterr().out.replace("\n", " ")


def test_a_missing_video_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "nowhere.mp4"]) == 2
    assert capsys.readouterr().err == "facestream: nowhere.mp4 is not a file; name a video\n"


def test_a_contender_that_fails_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    with pytest.raises(ContenderFailed, match=r"facestream on .*broken\.mp4"):
        measure("facestream", Task(broken))


def test_peers_that_cannot_run_say_why(clip: Path, tmp_path: Path) -> None:
    task = Task(clip)
    assert "--zoo" in str(missing("yunet+sface", task))
    assert "lacks" in str(missing("yunet+sface", replace(task, zoo=tmp_path)))
    assert missing("facestream", task) is None


@pytest.mark.peer
def test_all_contenders_see_the_same_video(clip: Path, shared_data: Path) -> None:
    task = Task(clip, max_frames=3, zoo=shared_data / "models")
    names = [name for name in contenders() if name != "facestream-start"]
    result = compare(names, [task], rounds=1)
    faces = {run["name"]: (run["frames"], run["faces"]) for run in result["runs"]}
    assert faces == dict.fromkeys(names, (3, 3))
