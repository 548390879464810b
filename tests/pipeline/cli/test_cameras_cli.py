"""``facestream cameras``: what it lists, opens and draws, and that it never prints a secret."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from pathlib import Path

import cv2
import pytest
from facestream.pipeline.core.config import load_settings

from .conftest import ROOT, Run, mistake

SECRET = "s3cr3t-word"


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def house(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, a camera that is not there with a secret from outside, and one with its own."""
    monkeypatch.setenv("GATE_PASSWORD", SECRET)
    port = closed_port()
    file = tmp_path / "house.toml"
    file.write_text(
        f"""
[cameras.door]
url = "file://{clip}"
watch = [[[0, 0], [0.6, 0], [0.6, 1], [0, 1]]]
mask = [[[0.2, 0.5], [0.4, 0.5], [0.4, 0.9]]]
[cameras.door.detector]
min_face = 30
[cameras.gate]
url = "rtsp://admin:${{GATE_PASSWORD}}@127.0.0.1:{port}/x"
schedule = ["mon-fri 07:00-19:00"]
[cameras.yard]
url = "http://admin:{SECRET}@127.0.0.1:{port}/x?token={SECRET}"
enabled = false
""",
        encoding="utf-8",
    )
    return file


def test_cameras_are_listed_without_their_secrets(run: Run, house: Path) -> None:
    status, out, err = run("cameras", "--config", house)
    assert (status, err) == (0, "")
    assert "${GATE_PASSWORD}@127.0.0.1" in out
    assert "http://***:***@127.0.0.1/***" in out
    assert "1 watched area, 1 masked area" in out
    assert "faces from 30 px" in out
    assert "not enabled" in out
    assert SECRET not in out


def test_a_missing_secret_is_reported_before_anything_is_opened(
    run: Run, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATE_PASSWORD")
    status, out, err = run("cameras", "--config", house)
    assert status == 3
    assert "the environment variable GATE_PASSWORD is not set" in err
    assert SECRET not in out + err


def test_probing_shows_what_each_delivers_or_why_not(run: Run, house: Path) -> None:
    status, out, err = run("--debug", "cameras", "--config", house, "--probe", "--json")
    assert status == 3
    door, gate, yard = json.loads(out)
    assert (door["width"], door["height"], door["fps"], door["codec"]) == (320, 240, 25.0, "h264")
    assert door["problem"] is None
    assert door["overrides"] == ["detector.min_face = 30"]
    assert isinstance(gate["open"], bool)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:00", gate["next_change"])
    for camera in (gate, yard):
        assert camera["width"] is None
        assert camera["problem"] == f"cannot open {camera['name']}: connection refused"
    assert SECRET not in out + err


def test_a_picture_shows_the_areas(run: Run, house: Path, tmp_path: Path) -> None:
    folder = tmp_path / "look"
    status, out, _ = run("cameras", "door", "--config", house, "--picture", folder)
    assert status == 0
    assert f"Wrote {folder / 'door.jpg'}" in out
    image = cv2.imread(str(folder / "door.jpg"))
    assert image is not None
    assert image.shape == (240, 320, 3)
    assert [path.name for path in folder.iterdir()] == ["door.jpg"]


def test_mistakes_are_one_line(run: Run, house: Path) -> None:
    assert mistake(run("cameras")).startswith("the settings have no cameras; give a file with")
    assert mistake(run("cameras", "dor", "--config", house)) == (
        "there is no camera 'dor'; did you mean 'door'?"
    )


def test_the_settings_are_printed_without_the_secrets(run: Run, house: Path) -> None:
    status, out, err = run("config", "--config", house)
    assert status == 0
    assert "${GATE_PASSWORD}" in out
    assert tomllib.loads(out)["cameras"]["door"]["mask"] == [[[0.2, 0.5], [0.4, 0.5], [0.4, 0.9]]]
    assert SECRET not in out + err


def test_a_run_writes_no_secret(run: Run, house: Path, tmp_path: Path, clip: Path) -> None:
    """Standard output, errors with --debug, the report and the events."""
    folder = tmp_path / "out"
    status, out, err = run(
        "--debug", "run", clip, "--config", house, "--out", folder, "--no-video",
        "--max-frames", "2",
    )  # fmt: skip
    assert status == 0, err
    report = (folder / "report.json").read_text(encoding="utf-8")
    assert "${GATE_PASSWORD}" in report
    for text in (out, err, *(p.read_text("utf-8") for p in folder.iterdir() if p.is_file())):
        assert SECRET not in text


def test_the_example_of_the_documentation_holds(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")
    example, *others = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "house.toml"
    for other in others:
        file.write_text(other, encoding="utf-8")
        load_settings(file=file)
    file.write_text(example, encoding="utf-8")
    settings = load_settings(file=file)
    assert list(settings.cameras) == ["door", "yard", "front desk"]
    assert settings.for_source("door").recognition.threshold == 0.45
    monkeypatch.setenv("DOOR_PASSWORD", SECRET)
    status, out, err = run("cameras", "--config", file)
    assert status == 3  # the file of the second camera's password is not here
    assert "cannot read /run/secrets/yard: No such file" in err
    assert SECRET not in out + err
    keys = set(type(settings.cameras["door"]).model_fields)
    described = set(re.findall(r"`(?:\[cameras\.NAME)?\.?([a-z_]+)\]?`", text))
    assert keys <= described
