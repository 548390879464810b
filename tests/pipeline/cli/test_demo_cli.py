"""``facestream demo`` does what ``make demo`` promises."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from facestream.pipeline.cli import main


def test_the_demo_names_one_and_leaves_the_other_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path)]) == 0
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["type"] == "left"]
    names = [event["name"] for event in events]
    assert "Eileen Collins" in names
    assert "unknown" in names
    assert set(names) == {"Eileen Collins", "unknown"}
    with av.open(str(tmp_path / "annotated.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert sum(1 for _ in video.decode(stream)) == 200
    for event in events:
        assert (tmp_path / event["picture"]).is_file()
    shown = capsys.readouterr().out
    assert "Eileen Collins" in shown
