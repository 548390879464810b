"""Webhooks against real servers that fail, hang, redirect, and speak TLS."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.config import Settings, WebhookSettings, load_settings, to_toml
from facestream.pipeline.core.errors import ConfigError, OutputError, UsageError
from facestream.pipeline.core.events import Event, parse_event
from facestream.pipeline.sightings.forget import Forgotten
from facestream.pipeline.sinks.delivery_counts import DeliveryCounts
from facestream.pipeline.sinks.notifications import forget_messages
from facestream.pipeline.sinks.webhook.request import HookTarget, RequestFailed, post
from facestream.pipeline.sinks.webhook.sink import Webhook, WebhookSink, try_webhook
from facestream.pipeline.sources.tls import Tls

from tests.pipeline.sightings.stored import appeared, left
from tests.servers.recorder import make_certificates
from tests.waiting import wait_until

SECRET = "0123456789abcdef"


class HookServer:
    """Answers with the statuses it is given, then 204; keeps what it took."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes, int]] = []
        self.statuses: list[int] = []
        self.failing_sources: set[str] = set()
        self.hang = threading.Event()
        self.hang.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.hang.wait(10)
                status = outer.statuses.pop(0) if outer.statuses else 204
                if any(source.encode() in body for source in outer.failing_sources):
                    status = 500
                outer.requests.append((self.path, dict(self.headers), body, status))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def taken(self) -> list[Event]:
        return [parse_event(body) for _, _, body, status in self.requests if status == 204]


@pytest.fixture
def server() -> Iterator[HookServer]:
    made = HookServer()
    yield made
    made.close()


def webhook(port: int, **values: Any) -> WebhookSettings:
    given = {
        "name": "phone",
        "url": f"http://127.0.0.1:{port}/hook?x=1",
        "secret": SECRET,
        "allow_http": True,
        "allow_networks": ("127.0.0.0/8",),
        "first_pause": 0.02,
    }
    return WebhookSettings.model_validate(given | values)


def folder(tmp_path: Path) -> Settings:
    return Settings().with_values({"storage.outbox": tmp_path / "outbox"})


def test_events_are_posted_signed_and_filtered(tmp_path: Path, server: HookServer) -> None:
    hook = webhook(server.port, events=("left",), cameras=("door",), secret="${SECRET}")
    with WebhookSink(hook, folder(tmp_path), environment={"SECRET": SECRET}) as sink:
        wanted = left(name="Zoë", person_id=3, verdict="known")
        for event in (appeared(), wanted, left(source="yard")):
            sink.event(event)
        wait_until(lambda: bool(server.requests))
    ((path, headers, body, _),) = server.requests
    assert path == "/hook?x=1"
    assert body.decode() == wanted.to_json()
    content = headers["X-Facestream-Timestamp"].encode() + b"." + body
    want = hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
    assert headers["X-Facestream-Signature"] == f"v1={want}"
    assert headers["X-Facestream-Delivery"] == wanted.id
    assert headers["X-Facestream-Event"] == "left"


def test_failures_are_tried_again_in_the_order_of_each_camera(
    tmp_path: Path, server: HookServer
) -> None:
    server.statuses = [500, 503, 429]
    server.failing_sources = {"yard"}
    counts = DeliveryCounts()
    events = [appeared(source=("door", "yard")[number % 2]) for number in range(8)]
    with WebhookSink(webhook(server.port, attempts=100), folder(tmp_path), counts) as sink:
        for event in events:
            sink.event(event)
        wait_until(lambda: len(server.taken) == 4)  # a camera does not hold the other back
        server.failing_sources = set()
        wait_until(lambda: len(server.taken) == 8)
    for camera in ("door", "yard"):
        want = [event.id for event in events if event.source == camera]
        assert [event.id for event in server.taken if event.source == camera] == want
    assert counts.value("webhook phone", "sent") == 8
    assert counts.value("webhook phone", "failed") >= 3


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (404, 1), (302, 1)])
def test_what_is_given_up_is_a_dead_letter(
    tmp_path: Path, server: HookServer, status: int, tries: int
) -> None:
    server.statuses = [status] * tries
    counts = DeliveryCounts()
    with WebhookSink(webhook(server.port, attempts=3), folder(tmp_path), counts) as sink:
        event = appeared()
        sink.event(event)
        wait_until(lambda: counts.value("webhook phone", "dead") == 1)
        following = appeared()
        sink.event(following)
        wait_until(lambda: bool(server.taken))
    assert [path for path, *_ in server.requests] == ["/hook?x=1"] * (tries + 1)
    assert sink.dead.stat().st_mode & 0o777 == 0o600
    (letter,) = map(json.loads, sink.dead.read_text().splitlines())
    assert letter["id"] == event.id
    assert letter["dead_letter"]["attempts"] == tries
    assert str(status) in letter["dead_letter"]["reason"]


def test_what_waits_is_posted_by_the_next_run(tmp_path: Path, server: HookServer) -> None:
    server.statuses = [500] * 20
    event = appeared()
    with WebhookSink(webhook(server.port, first_pause=30.0), folder(tmp_path)) as sink:
        sink.event(event)
        wait_until(lambda: len(server.requests) == 1)
        with pytest.raises(OutputError, match="another run"):
            WebhookSink(webhook(server.port), folder(tmp_path))
    server.statuses = []
    with WebhookSink(webhook(server.port), folder(tmp_path)) as sink:
        sink._outbox._database.execute("UPDATE messages SET due = 0")
        wait_until(lambda: len(server.taken) == 1)
    assert server.taken[0].id == event.id


def test_a_server_that_hangs_costs_the_time_limit(server: HookServer) -> None:
    server.hang.clear()
    result = Webhook(webhook(server.port, timeout=0.2)).deliver(appeared().to_json(), delivery="1")
    assert result.problem == "no answer within 0.2 s"
    server.hang.set()


def test_a_server_that_sends_single_bytes_for_ever_costs_the_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def drip() -> None:
            channel, _ = listening.accept()
            with channel:
                while not done.wait(0.02):
                    try:
                        channel.send(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        hook = Webhook(webhook(listening.getsockname()[1], timeout=0.3))
        result = hook.deliver(appeared().to_json(), delivery="1")
        done.set()
        thread.join()
    assert result.problem == "no answer within 0.3 s"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "2130706433", "0x7f000001", "127.1"),
        *("[64:ff9b::7f00:1]", "224.0.0.1", "100.64.0.1"),
    ],
)
def test_private_addresses_are_refused_however_they_are_written(host: str) -> None:
    hook = webhook(0, url=f"https://{host}:1/", allow_networks=())
    result = Webhook(hook).deliver(appeared().to_json(), delivery="1")
    assert result.status is None
    assert "address of this machine or of a private network" in str(result.problem)


def test_the_address_that_was_checked_is_the_one_that_is_used(server: HookServer) -> None:
    """A name that resolves to another address a moment later."""
    answers = [["203.0.113.9"], ["127.0.0.1"]]
    asked = []

    def resolve(_host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(port)
        (address,) = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    rebound = HookTarget.of(
        f"http://hook.example:{server.port}/", networks=(), allow_http=True, tls=Tls(), timeout=0.2
    )
    for _ in range(2):  # the first is not there, the second is private
        with pytest.raises(RequestFailed):
            post(rebound, b"{}", {}, resolve=resolve)
    assert len(asked) == 2
    assert server.requests == []


def test_tls_is_verified_against_the_name(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    event = appeared().to_json()
    for certificate, taken in ((made.good, True), (made.own, False), (made.other_name, False)):
        server = HookServer(certificate)
        url = f"https://127.0.0.1:{server.port}/"
        hook = Webhook(webhook(0, url=url, tls_ca=made.ca, allow_http=False))
        result = hook.deliver(event, delivery="1")
        server.close()
        assert (result.status == 204) is taken, result
        assert taken or "certificate" in str(result.problem)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": "http://a.example/"}, "must be an https URL"),
        ({"url": "ftp://a.example/", "allow_http": True}, "must be an https URL"),
        ({"url": "https://me:pw@a.example/"}, "must have no login"),
        ({"template": "$nme"}, r"events have no field \$nme"),
        ({"template": "5 $"}, "is none as"),
        ({"secret": "${NOT_SET_AT_ALL}"}, "NOT_SET_AT_ALL is not set"),
    ],
)
def test_settings_that_cannot_be_used(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Webhook(webhook(0, **{"allow_http": False, **values}), {})


def test_a_template_makes_the_body(server: HookServer) -> None:
    template = '{"text": "$name at $source$reason, $person_id, $$5"}'
    event = left(name='Zoë "Z"', person_id=3, verdict="known")
    hook = Webhook(webhook(server.port, template=template))
    assert hook.deliver(event.to_json(), delivery="1").status == 204
    assert json.loads(server.requests[0][2])["text"] == 'Zoë "Z" at doornull, 3, $5'


def test_forgetting_reaches_dead_letters_and_what_waits(tmp_path: Path, server: HookServer) -> None:
    server.statuses = [404]
    counts, settings = DeliveryCounts(), folder(tmp_path)
    events = [left(name=name, person_id=3, verdict="known") for name in ("Ada", "Bob", "Ada")]
    with WebhookSink(webhook(server.port, first_pause=60.0), settings, counts) as sink:
        sink.event(events[0])
        wait_until(lambda: counts.value("webhook phone", "dead") == 1)
        server.failing_sources = {"door"}
        for event in events[1:]:
            sink.event(event)
        wait_until(lambda: counts.value("webhook phone", "failed") == 1)
        gone = Forgotten(frozenset(event.sighting for event in events[::2]), "Ada", None)
        done = forget_messages(settings, gone)
        assert sink._outbox.waiting == 1
    assert sink.dead.read_text() == ""
    assert done[str(sink.dead)]["events"] == 1


def test_the_queue_is_bounded_and_counted(tmp_path: Path) -> None:
    counts = DeliveryCounts()
    hook = webhook(9, max_waiting=3, first_pause=60.0)
    with WebhookSink(hook, folder(tmp_path), counts) as sink:
        for _ in range(8):
            sink.event(appeared())
        assert sink._outbox.waiting == 3
    assert counts.value("webhook phone", "dropped") == 5


def test_the_settings_file(tmp_path: Path, server: HookServer) -> None:
    file = tmp_path / "house.toml"
    lines = f'name = "phone"\nurl = "http://127.0.0.1:{server.port}/"\nsecret = "{SECRET}"\n'
    more = 'allow_http = true\nallow_networks = ["127.0.0.0/8"]\n'
    file.write_text(f"[[webhooks]]\n{lines}{more}")
    settings = load_settings(file=file)
    assert SECRET not in to_toml(settings) + repr(settings)
    assert "[[webhooks]]" in to_toml(settings)
    assert try_webhook(settings, "phone").status == 204
    assert server.taken[0].source == "test"
    with pytest.raises(UsageError, match="they have: phone"):
        try_webhook(settings, "fax")
    file.write_text(f"[[webhooks]]\n{lines}[[webhooks]]\n{lines}")
    with pytest.raises(ConfigError, match="two webhooks have the name 'phone'"):
        load_settings(file=file)
    file.write_text(f"[[webhooks]]\n{lines.replace(SECRET, 'short-one')}")
    with pytest.raises(ConfigError, match=r"webhooks\[0\]\.secret.*at least 16") as caught:
        load_settings(file=file)
    assert "short-one" not in str(caught.value)
