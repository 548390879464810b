"""Of a URL its scheme and its host are shown, and nothing of what may be a secret."""

from __future__ import annotations

import pytest
from facestream.pipeline.core.config import CameraUrl, Settings
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.redact import (
    NO_URL,
    UrlParts,
    file_label,
    label,
    shown_source,
    with_quoted_credentials,
    without_urls,
)
from facestream.pipeline.ingest.readers import list_sources
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@h:554/a?x=1", "rtsp://h"),
        ("rtsp://h/a", "rtsp://h"),
        ("RTSPS://nvr.example:7441/c0ffee?enableSrtp", "rtsps://nvr.example"),
        ("  rtsp://u:hush@h/a", "rtsp://h"),
        ("rtmp://live.example/app/streamkey", "rtmp://live.example"),
        ("http://h/v;password=hush", "http://h"),
        ("http://h?u=admin&p=hush", "http://h"),
        ("http://[fe80::1%eth0]:80/x", "http://[fe80::1%eth0]"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1"),
        # A password without escapes.
        ("rtsp://u:hu@sh@h/a", "rtsp://h"),
        # Not certain: is it a host and a port, or a user and a password?
        ("rtsp://u:hu/sh@h/a", "rtsp://***"),
        ("rtsp://u:hu#sh@h/a", "rtsp://***"),
        ("rtsp://u:1/hush@h/a", "rtsp://***"),
        ("http://h/v?mail=me@home", "http://***"),
        ("rtsp://admin:hush/main", "rtsp://***"),
        ("rtsp://h\\@hush/", "rtsp://***"),
        ("rtsp:///main", "rtsp://***"),
        ("rtsp:/admin:hush@h/main", NO_URL),
    ],
)
def test_scheme_and_host_are_shown(url: str, shown: str) -> None:
    assert label(url) == shown
    assert without_urls(f"cannot read '{url.strip()}': no") == f"cannot read '{shown} no" or (
        " " in url or shown == NO_URL
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h/c0ffee/clip%201.mp4?token=hush", "http://h/…/clip 1.mp4"),
        ("http://h/clip.mp4", "http://h/clip.mp4"),
        ("http://h/user=a&password=hush.mp4", "http://h"),
        ("http://h/clip.mp4;password=hush", "http://h"),
        ("rtsp://u:1/hush@h/clip.mp4", "rtsp://***"),
    ],
)
def test_of_a_recorded_file_its_name_is_shown(url: str, shown: str) -> None:
    assert file_label(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clips/a@2x.mp4", "clips/a@2x.mp4"),
        ("a:b.mp4", "a:b.mp4"),
        ("what?.mp4", "what?.mp4"),
        ("rtsp:/admin:hush@10.0.0.5/x", NO_URL),
        (" rtsp:/admin:hush@10.0.0.5/x", NO_URL),
        ("rtsp//admin:hush@10.0.0.5/x", NO_URL),
        ("rtsp;//admin:hush@10.0.0.5/x", NO_URL),
        ("admin:hush@10.0.0.5/x", NO_URL),
        ("//admin:hush@10.0.0.5/x", NO_URL),
        ("10.0.0.5/live/hush", NO_URL),
        ("cam/live?psw=hush", NO_URL),
        ("cam/user=x;password=hush", NO_URL),
    ],
)
def test_what_is_meant_as_a_url_is_not_shown_as_a_path(text: str, shown: str) -> None:
    assert shown_source(text) == shown
    if shown != text:
        with pytest.raises(SourceError, match="what looks like a URL is none") as caught:
            list_sources([text], Settings())
        assert "hush" not in str(caught.value)


_NOISE = st.text(st.sampled_from("ab1:/@?#&;=%.\\[]'\" -_*"), max_size=6)
_SECRET = st.builds(lambda a, b: f"hush{a}hush{b}hush", _NOISE, _NOISE)


@given(
    blank=st.sampled_from(["", " ", "\t", "\n"]),
    scheme=st.sampled_from(["rtsp", "RTSP", "rtsps", "Http", "https", "rtmp", "xyz", ""]),
    mark=st.sampled_from(["://", "://", "://", ":/", "//", ":///", ":\\\\", ";//", ":"]),
    login=st.one_of(
        st.just(""),
        _SECRET.map(lambda secret: f"{secret}@"),
        st.tuples(_SECRET, _SECRET).map(lambda two: f"{two[0]}:{two[1]}@"),
        _SECRET.map(lambda secret: f"admin:{secret}@"),
        # The "@" is missing; with another one, what follows that is the host.
        _SECRET.map(lambda secret: f"admin:{secret.replace('@', '')}"),
    ),
    host=st.sampled_from(["10.0.0.5", "cam", "cam:8554", "[fe80::1]:80", ""]),
    rest=st.one_of(
        st.just(""),
        _SECRET.map(lambda secret: f"/{secret}"),
        _SECRET.map(lambda secret: f"/live/{secret}/x.mp4"),
        _SECRET.map(lambda secret: f"?u=a&p={secret}"),
        _SECRET.map(lambda secret: f"/x;password={secret}"),
        _SECRET.map(lambda secret: f"/x#psw={secret}"),
    ),
)
@example("", "rtsp", "://", "", "cam", "/hush@hush")
@example(" ", "rtsp", ":/", "admin:hush@", "10.0.0.5", "")
def test_no_secret_part_of_an_odd_url_is_shown(
    blank: str, scheme: str, mark: str, login: str, host: str, rest: str
) -> None:
    text = f"{blank}{scheme}{mark}{login}{host}{rest}"
    assert "hush" not in label(text)
    try:
        shown = repr(CameraUrl(text))
    except ValueError as error:
        shown = str(error)
    assert "hush" not in shown
    if "hush" in text and scheme not in {"", "xyz"}:
        # Without a scheme it may be the path of a file.
        assert "hush" not in shown_source(text)
        # In the text of an error: only what can be a URL at all.
        if mark.startswith(":/") and " " not in text.strip():
            assert "hush" not in without_urls(f"no such format at {text}")
        try:
            shown = repr(list_sources([text], Settings()))
        except SourceError as error:
            shown = str(error)
        assert "hush" not in shown


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


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_parts_are_the_whole(rest: str) -> None:
    parts = UrlParts.split(f"rtsp://{rest}")
    assert "".join((parts.scheme, parts.user, parts.host, parts.path, parts.query)) == (
        f"rtsp://{rest}"
    )
