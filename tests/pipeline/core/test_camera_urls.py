"""URLs of cameras: secrets come in, and never out."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from facestream.pipeline.core.config import (
    CameraSettings,
    CameraUrl,
    Settings,
    load_settings,
    to_toml,
)
from facestream.pipeline.core.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st

SECRET = "S3cr3t-Wörd"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("rtsp://10.0.0.5", "rtsp://10.0.0.5"),
        ("rtsp://10.0.0.5:554/main?stream=2", "rtsp://10.0.0.5/***"),
        ("rtsp://admin:hunter2@10.0.0.5/main", "rtsp://***:***@10.0.0.5/***"),
        ("rtsp://token@10.0.0.5/main", "rtsp://***@10.0.0.5/***"),
        ("rtsp://${U}:${PASSWORD}@10.0.0.5/", "rtsp://${U}:${PASSWORD}@10.0.0.5"),
        ("rtsp://${U}:pre${P}post@h/", "rtsp://${U}:***${P}***@h"),
        ("rtsp://a:${file:/run/secrets/door}@h:554/x", "rtsp://***:${file:/run/secrets/door}@h/***"),
        ("rtsp://${HOST}/x", "rtsp://${HOST}/***"),
        ("rtsp://admin:p@ss@10.0.0.5/x", "rtsp://***:***@10.0.0.5/***"),
        ("rtsp://admin:p@s/s@10.0.0.5/x", "rtsp://***"),
        ("rtsp://h/x?mail=a@b", "rtsp://***"),
        ("http://h/cgi?user=a&pwd=b&auth_token=${P}", "http://h/***"),
        ("${DOOR_URL}", "${DOOR_URL}"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_url(written: str, shown: str) -> None:
    url = CameraUrl(written)
    assert str(url) == shown
    assert repr(url) == f"CameraUrl({shown!r})"
    # What is hidden is not taken for a password.
    if "***" in shown:
        with pytest.raises(ValueError, match="has its secrets hidden"):
            CameraUrl(shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.5/main", "must be a URL such as rtsp://"),
        ("rtsp://a:${PASSWORD@h/", "has a '${' that is not closed"),
        ("rtsp://a:${PASS WORD}@h/", "neither the name of a variable nor file:/path in it"),
        ("rtsp://a:${}@h/", "neither the name of a variable nor file:/path in it"),
        ("rtsp://a:${file:secret}@h/", "needs a path from the root"),
        ("rtsp://a:b c@h/", "must not hold spaces"),
    ],
)
def test_what_is_no_url(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^.+$") as caught:
        CameraUrl(text)
    assert message in str(caught.value)
    assert text not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_secret_arrives_whole_whatever_is_in_it(secret: str) -> None:
    url = CameraUrl("rtsp://admin:${P}@10.0.0.5:554/a/${P}?x=${P}&y=1").resolve(
        {"P": secret}, place="x"
    )
    parts = urlsplit(url)
    assert (parts.hostname, parts.port) == ("10.0.0.5", 554)
    assert unquote(parts.password or "") == secret
    assert unquote(parts.path) == f"/a/{secret}"
    assert unquote(parts.query) == f"x={secret}&y=1"
    assert url.isascii()


def test_a_host_and_a_whole_url_from_the_environment() -> None:
    environment = {"HOST": "[fe80::1]:8554", "URL": "rtsp://a:b@h/x"}
    assert CameraUrl("rtsp://${HOST}/x").resolve(environment, place="x") == (
        "rtsp://[fe80::1]:8554/x"
    )
    assert CameraUrl("${URL}").resolve(environment, place="x") == "rtsp://a:b@h/x"
    with pytest.raises(
        ConfigError, match=r"^camera 'door': url: the value of \$\{URL\} is not a URL"
    ):
        CameraUrl("${URL}").resolve({"URL": SECRET}, place="camera 'door': url")


def test_a_secret_from_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "door"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    file.chmod(0o600)
    url = CameraUrl(f"rtsp://admin:${{file:{file}}}@h/")
    with caplog.at_level(logging.WARNING):
        resolved = url.resolve({}, place="camera 'door': url")
    assert unquote(urlsplit(resolved).password or "") == SECRET
    assert not caplog.records
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        url.resolve({}, place="camera 'door': url")
    assert f"every user of this machine can read {file}" in caplog.text
    assert SECRET not in caplog.text


def test_a_secret_that_is_missing(tmp_path: Path) -> None:
    def problem(text: str, environment: dict[str, str]) -> str:
        with pytest.raises(ConfigError) as caught:
            CameraUrl(text).resolve(environment, place="camera 'door': url")
        return str(caught.value)

    start = "camera 'door': url: "
    assert problem("rtsp://a:${P}@h/", {}) == f"{start}the environment variable P is not set"
    assert problem("rtsp://a:${P}@h/", {"P": ""}) == f"{start}the environment variable P is empty"
    missing = tmp_path / "none"
    assert problem(f"rtsp://a:${{file:{missing}}}@h/", {}) == (
        f"{start}cannot read {missing}: No such file or directory"
    )
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert problem(f"rtsp://a:${{file:{empty}}}@h/", {}) == f"{start}{empty} is empty"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" + SECRET.encode())
    assert problem(f"rtsp://a:${{file:{binary}}}@h/", {}) == f"{start}{binary} is not UTF-8 text"


@pytest.mark.parametrize("url", [f"rtsp://admin:{SECRET}@h/", f"http://h/?token={SECRET}"])
def test_a_password_that_was_written_out_is_nowhere(url: str, tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(f'[cameras.door]\nurl = "{url}"\n', encoding="utf-8")
    settings = load_settings(file=file)
    for text in (
        repr(settings),
        str(settings),
        to_toml(settings),
        repr(settings.model_dump()),
        repr(settings.model_dump(mode="json")),
        settings.model_dump_json(),
        repr(settings.for_source("door")),
    ):
        assert SECRET not in text
        assert "***" in text
    changed = settings.with_values({"detector.min_face": 20})
    camera = changed.cameras["door"].url
    assert camera is not None
    assert camera.resolve({}, place="x") == url


@pytest.mark.parametrize(
    "rest", ['detect_every = "x"', "device = 0", 'sub_url = "no url"', 'stream = "sub"', "urll = 3"]
)
def test_no_mistake_beside_a_password_shows_it(rest: str, tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(f'[cameras.door]\nurl = "rtsp://admin:{SECRET}@h/"\n{rest}\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ValueError, match="url") as invalid:
        CameraSettings.model_validate({"url": f"rtsp://a:{SECRET} @h/"})
    assert SECRET not in "".join(traceback.format_exception(invalid.value))


def test_a_broken_url_with_a_password_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    for url in (f"rtsp://a:{SECRET} @h/", f"a:{SECRET}@h/", f"rtsp://a:{SECRET}${{@h/"):
        file.write_text(f'[cameras.door]\nurl = "{url}"\n', encoding="utf-8")
        with pytest.raises(ConfigError, match=r"^cameras\.door\.url in ") as caught:
            load_settings(file=file)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert Settings().cameras == {}
