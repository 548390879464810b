"""No password or secret parameter of a URL is shown."""

from __future__ import annotations

import pytest
from facestream.pipeline.core.config import CameraUrl
from facestream.pipeline.core.redact import UrlParts, with_quoted_credentials, without_credentials
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@h:554/a?x=1", "rtsp://h:554/a?x=1"),
        ("rtsp://h/a", "rtsp://h/a"),
        ("rtsp://u@h/a", "rtsp://h/a"),
        ("http://h/v?user=bob&password=hush&res=hd", "http://h/v?user=***&password=***&res=hd"),
        ("http://h/v?access_token=hush#hush", "http://h/v?access_token=***"),
        ("rtsp://u:hu@sh@h/a", "rtsp://h/a"),
        ("rtsp://u:hu/sh@h/a", "rtsp://h/a"),
        ("rtsp://u:hu#sh@h/a", "rtsp://h/a"),
        ("rtsp://u:1/hush@h/a", "rtsp://h/a"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("rtsp://u:a@?hush@h/a", "rtsp://h/a"),
        (
            "rtsp://h:554/user=bob&password=hush&channel=1",
            "rtsp://h:554/user=***&password=***&channel=1",
        ),
        ("http://h/v?mail=me@home", "http://h/v?mail=me@home"),
        ("http://h/v?next=http://x/y?token=hush", "http://h/v?next=http://x/y?token=***"),
        ("http://h/v?p%61ss=hush&x=1", "http://h/v?p%61ss=***&x=1"),
        ("rtsp://h:554/my pwd=hush;x=1", "rtsp://h:554/my pwd=***;x=1"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("rtsp://u:p@h:554/a", "rtsp://u:p@h:554/a"),
        ("rtsp://u:p%2F@h/a", "rtsp://u:p%2F@h/a"),
        ("rtsp://u:p/q@h:554/a?b=c", "rtsp://u:p%2Fq@h:554/a?b=c"),
        ("rtsp://u:p?q#r@[::1]:554/a", "rtsp://u:p%3Fq%23r@[::1]:554/a"),
        ("http://h:80/v?mail=me@home", "http://h:80/v?mail=me@home"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
        ("rtsp://h/a", "rtsp://h/a"),
    ],
)
def test_odd_passwords_are_quoted_for_ffmpeg(url: str, opened: str) -> None:
    assert with_quoted_credentials(url) == opened
    assert with_quoted_credentials(opened) == opened


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t"), min_size=1))
def test_no_password_survives(password: str) -> None:
    secret = f"hush{password}hush"
    assert "hush" not in without_credentials(f"rtsp://user:{secret}@host/path")


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=6).filter(
        lambda text: "${" not in text and text not in "rtsp://admin:***@10.0.0.5:554/main?a=b"
    )
)
@example(";00000")
@example("/00000?0;=0")
def test_no_written_password_is_shown_by_camera_urls(password: str) -> None:
    for text in (
        f"rtsp://admin:{password}@10.0.0.5:554/main?a=b",
        f"http://10.0.0.5/main?a=b&pwd={password.replace('&', '').replace('#', '') or 'x'}",
    ):
        for shown in (str(CameraUrl(text)), UrlParts.split(text).redacted()):
            assert password not in shown
            assert "***" in shown
            assert "10.0.0.5" in shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_parts_are_the_whole(rest: str) -> None:
    parts = UrlParts.split(f"rtsp://{rest}")
    assert "".join((parts.scheme, parts.user, parts.host, parts.path, parts.query)) == (
        f"rtsp://{rest}"
    )
