"""Tables of cameras: what they may say, and what holds for each."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.config import CameraSettings, Settings, load_settings, to_toml
from facestream.pipeline.core.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st

DOOR = """
[detector]
min_face = 30
[tracking]
detect_every = 3
cooldown = 5.0

[cameras.door]
url = "rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream1"
sub_url = "rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream2"
stream = "sub"
transport = "udp"
detect_size = 640
detect_every = 2
watch = [[[0, 0.2], [0.5, 0.2], [0.5, 1], [0, 1]]]
mask = [[[0.1, 0.3], [0.2, 0.3], [0.2, 0.5]]]
schedule = ["mon-fri 07:00-19:00"]
timezone = "Europe/Berlin"
[cameras.door.detector]
min_face = 60
[cameras.door.tracking]
absence_timeout = 4.0
[cameras.door.recognition]
threshold = 0.45
max_sigma = 0.5

[cameras."back yard"]
device = 0
enabled = false
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "cameras.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_camera_says_holds_for_it_alone(tmp_path: Path) -> None:
    settings = load_settings(file=written(tmp_path, DOOR), flags={"tracking.detect_every": 8})
    door = settings.for_source("door")
    assert door.detector.min_face == 60
    assert door.tracking.detect_every == 2
    assert (door.tracking.absence_timeout, door.tracking.cooldown) == (4.0, 5.0)
    assert (door.recognition.threshold, door.recognition.max_sigma) == (0.45, 0.5)
    assert door.recognition.margin == settings.recognition.margin
    assert door.live.transport == "udp"
    assert settings.for_source("door") is door
    assert settings.for_source("clip.mp4") is settings
    assert settings.for_source("back yard").tracking.detect_every == 8
    assert settings.tracking.detect_every == 8


def test_a_schedule_is_ready_to_ask(tmp_path: Path) -> None:
    cameras = load_settings(file=written(tmp_path, DOOR)).cameras
    times = cameras["door"].times
    assert times is not None
    assert times.open_at(datetime(2026, 11, 23, 6, tzinfo=UTC))
    assert not times.open_at(datetime(2026, 11, 22, 6, tzinfo=UTC))
    assert cameras["back yard"].times is None


def test_what_is_printed_reads_back_the_same(tmp_path: Path) -> None:
    # Paths of URLs are not printed; a whole URL in one placeholder is.
    text = re.sub(r'url = "rtsp://.*(\d)"', r'url = "${DOOR_URL_\1}"', DOOR)
    settings = load_settings(file=written(tmp_path, text))
    printed = to_toml(settings)
    assert Settings.model_validate(tomllib.loads(printed)) == settings
    again = load_settings(file=written(tmp_path, printed))
    assert again == settings
    assert again.cameras["door"].overrides() == settings.cameras["door"].overrides()
    assert to_toml(again) == printed


names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda name: (
        not set("/\\") & set(name) and name not in {"-", ".", ".."} and not name.isdecimal()
    )
)
fractions = st.floats(0, 1)
corners = st.lists(fractions, min_size=2, max_size=2, unique=True)
boxes = st.tuples(corners, corners).filter(
    lambda c: abs((c[0][0] - c[0][1]) * (c[1][0] - c[1][1])) > 1e-4
)


@given(
    names,
    st.fixed_dictionaries(
        {"url": st.just("rtsp://${HOST}")},
        optional={
            "enabled": st.booleans(),
            "tls_ca": st.just("/etc/door.pem"),
            "tls_verify": st.booleans(),
            "detect_size": st.integers(32, 4096),
            "schedule": st.lists(st.sampled_from(["mon 07:00-19:00", "22:00-06:00"])),
            "mask": st.lists(
                boxes.map(lambda c: [[c[0][0], c[1][0]], [c[0][1], c[1][0]], [c[0][1], c[1][1]]])
            ),
            "recognition": st.fixed_dictionaries(
                {}, optional={"threshold": st.none() | fractions, "margin": fractions}
            ),
        },
    ),
)
def test_any_camera_reads_back_the_same(name: str, camera: dict[str, Any]) -> None:
    settings = Settings().with_values({"cameras": {name: camera}})
    again = Settings.model_validate(tomllib.loads(to_toml(settings)))
    assert again == settings
    assert again.for_source(name).recognition == settings.for_source(name).recognition
    assert settings.with_values({}) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameras = 3", "'cameras' in {file} is a table: write its keys under [cameras.NAME]"),
        ("[cameras]\ndoor = 'rtsp://x/'", "'cameras.door' in {file} is a table: write its keys"),
        (
            "[cameras.door]\nurll = 'rtsp://x/'",
            "unknown key 'cameras.door.urll' in {file}; did you mean 'url'?",
        ),
        (
            "[cameras.door]\nurl = 'rtsp://x/'\nthreshold = 0.4",
            "unknown key 'cameras.door.threshold' in {file}; did you mean 'recognition.threshold'?",
        ),
        (
            "[cameras.door.recognition]\nthreshhold = 0.4",
            "unknown key 'cameras.door.recognition.threshhold' in {file}; did you mean 'threshold'",
        ),
        ("[cameras.door]\nlive = 'x'", "'cameras.door.live' in {file} is a table: write its keys"),
        ("[camera.door]\nurl = 'rtsp://x/'", "unknown key 'camera' in {file}; did you mean 'cam"),
        ("[cameras.door]\nenabled = true", "cameras.door in {file}: needs either url or device"),
        (
            "[cameras.door]\nurl = 'rtsp://x/'\ndevice = 0",
            "cameras.door in {file}: needs either url or device",
        ),
        ("[cameras.door]\ndevice = -1", "cameras.door.device in {file}: must be a number from 0"),
        ("[cameras.door]\ndevice = 'webcam'", "cameras.door.device in {file}: must be a number or"),
        ("[cameras.door]\nurl = 3", "cameras.door.url in {file}: must be a URL in quotes"),
        (
            "[cameras.door]\nurl = 'rtsp://x/'\nstream = 'sub'",
            'cameras.door in {file}: stream = "sub" needs sub_url',
        ),
        (
            "[cameras.door]\ndevice = 0\nschedule = ['mon 7-19']",
            "cameras.door.schedule in {file}: 'mon 7-19' is not a time span; write it like",
        ),
        (
            "[cameras.door]\ndevice = 0\ntimezone = 'Berlin'",
            "cameras.door.timezone in {file}: there is no time zone 'Berlin'",
        ),
        (
            "[cameras.door]\ndevice = 0\nwatch = [[0, 0], [1, 0], [1, 1]]",
            "cameras.door.watch in {file}: must be a list of polygons; put one more pair",
        ),
        (
            "[cameras.door]\ndevice = 0\nmask = [[[0, 0], [640, 0], [1, 1]]]",
            "cameras.door.mask[0][1][0] in {file}: must be at most 1, not 640",
        ),
        (
            "[cameras.door]\ndevice = 0\nmask = [[[0, 0], [1, 1]]]",
            "cameras.door.mask[0] in {file}: tuple should have at least 3 items",
        ),
        (
            "[cameras.door]\ndevice = 0\nmask = [[[0, 0], [0.5, 0.5], [1, 1]]]",
            "cameras.door.mask[0] in {file}: must enclose an area",
        ),
        (
            "[cameras.door]\ndevice = 0\n[cameras.door.recognition]\nthreshold = 2",
            "cameras.door.recognition.threshold in {file}: must be at most 1, not 2",
        ),
        (
            "[cameras.door]\ndevice = 0\n[cameras.door.detector]\nmode = 'exact'",
            "cameras.door.detector in {file}: mode is the same for all cameras; set it in [detec",
        ),
        (
            "[cameras.door]\ndevice = 0\n[cameras.door.recognition]\nnormalise = 'none'",
            "cameras.door.recognition in {file}: normalise is the same for all cameras",
        ),
        (
            "[cameras.door]\ndevice = 0\ndetect_every = 2\n[cameras.door.tracking]\ndetect_every=3",
            "cameras.door in {file}: detect_every and tracking.detect_every say the same",
        ),
    ],
)
def test_a_mistake_in_a_camera_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", " door", "a/b", "a\\b", "-", "..", "0", "door\\t", "x" * 65, "\\u202edoor"]
)
def test_names_that_would_be_mistaken(tmp_path: Path, name: str) -> None:
    quoted = name if name.startswith("\\u") or name.endswith("\\t") else name.replace("\\", "\\\\")
    file = written(tmp_path, f'[cameras."{quoted}"]\ndevice = 0\n')
    with pytest.raises(ConfigError, match=r"cannot be a camera's name"):
        load_settings(file=file)


def test_two_names_that_look_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, "[cameras.Door]\ndevice = 0\n[cameras.door]\ndevice = 1\n")
    with pytest.raises(ConfigError, match="the cameras 'Door' and 'door' have the same name"):
        load_settings(file=file)


def test_copies_do_not_keep_what_was_worked_out_before() -> None:
    settings = Settings().with_values({"cameras": {"door": {"device": 0, "transport": "udp"}}})
    assert settings.for_source("door").tracking.iou == 0.3
    changed = settings.model_copy(
        update={"tracking": settings.tracking.model_copy(update={"iou": 0.5})}
    )
    assert changed.for_source("door").tracking.iou == 0.5
    assert changed.for_source("door").live.transport == "udp"


def test_a_camera_made_in_a_program() -> None:
    camera = CameraSettings.model_validate({"url": "rtsp://h/x", "transport": "udp"})
    settings = Settings(cameras={"door": camera})
    assert settings.for_source("door").live.transport == "udp"
    assert settings.live.transport == "tcp"


def test_a_token_that_is_too_short_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^restream\.token in .* at least 8") as caught:
        load_settings(file=written(tmp_path, "[restream]\ntoken = 'xyzzy'\n"))
    assert "xyzzy" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [('"1s"', 1.0), ('"500ms"', 0.5), ('"5m"', 300.0), ("2.5", 2.5)]
)
def test_how_often_a_single_picture_is_asked_for(tmp_path: Path, text: str, seconds: float) -> None:
    table = f'[cameras.door]\nurl = "http://10.0.0.9/snap.jpg"\nevery = {text}\n'
    settings = load_settings(file=written(tmp_path, table))
    assert settings.for_source("door").live.snapshot_every == seconds
    assert settings.live.snapshot_every == 1.0


@pytest.mark.parametrize("text", ['"often"', '"1 day"', "0", '"0s"', "true"])
def test_a_time_that_is_none(tmp_path: Path, text: str) -> None:
    table = f'[cameras.door]\nurl = "http://10.0.0.9/snap.jpg"\nevery = {text}\n'
    with pytest.raises(ConfigError, match=r"cameras\.door\.every"):
        load_settings(file=written(tmp_path, table))
