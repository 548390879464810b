"""A real mosquitto on loopback, which can be killed and started again, and a client."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facestream.engines.closing import Closing

from tests.waiting import wait_until

PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def require_mosquitto() -> None:
    """Skip the test where no broker is installed; fail where REQUIRE_SERVERS=1 says there is."""
    pytest.importorskip("paho.mqtt.client")
    if os.access(PROGRAM, os.X_OK):
        return
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail("REQUIRE_SERVERS=1, but this needs a broker: apt-get install mosquitto")
    pytest.skip("needs a broker: apt-get install mosquitto")


class Mosquitto(Closing):
    """A broker that keeps what it has on disk, at a port that stays.

    Args:
        login: user and password that it wants; None: nobody needs one.
        certificates: files of the certificate and its key, for TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        login: tuple[str, str] | None = None,
        certificates: tuple[Path, Path] | None = None,
    ) -> None:
        require_mosquitto()
        folder.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        lines = [f"listener {self.port} 127.0.0.1", "persistence true"]
        lines += [f"persistence_location {folder}/", "autosave_interval 1", "user root"]
        lines += ["autosave_on_changes true", "max_queued_messages 0"]
        lines += [f"allow_anonymous {'true' if login is None else 'false'}"]
        if login is not None:
            words = folder / "passwords"
            made = ["mosquitto_passwd", "-b", "-c", str(words), *login]
            subprocess.run(made, check=True, capture_output=True)
            lines += [f"password_file {words}"]
        if certificates is not None:
            lines += [f"certfile {certificates[0]}", f"keyfile {certificates[1]}"]
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def kill(self) -> None:
        """As a crash, ``kill -9``."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class MqttListener(Closing):
    """Collects what is published; it finds its session again after the broker was away.

    Attributes:
        messages: topic, payload and whether it was retained, in the order of their arrival.
    """

    def __init__(self, port: int, topics: str = "#", **options: Any) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"listener-{id(self)}", clean_session=False
        )
        client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        if "login" in options:
            client.username_pw_set(*options["login"])
        if "ca" in options:
            client.tls_set(str(options["ca"]))
        client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        client.connect("127.0.0.1", port)
        client.loop_start()
        self.client = client
        assert self._subscribed.wait(10)

    def of(self, topic: str) -> list[str]:
        """What came on a topic."""
        return [payload for where, payload, _ in list(self.messages) if where == topic]

    def last(self, topic: str) -> str | None:
        found = self.of(topic)
        return found[-1] if found else None

    def json(self, topic: str) -> Any:
        """The last message of a topic."""
        return json.loads(self.last(topic) or "null")

    def wait(self, condition: Callable[[], bool]) -> None:
        wait_until(condition)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def retained(port: int, *, settled: str, **options: Any) -> dict[str, str]:
    """What the broker retains, by topic; ``settled`` is a topic that is among it."""
    with MqttListener(port, **options) as listener:
        wait_until(lambda: listener.last(settled) is not None)
        # Retained messages come in one go: a round trip later all are here.
        mark = threading.Event()
        listener.client.on_unsubscribe = lambda *_: mark.set()
        listener.client.unsubscribe("nothing")
        mark.wait(10)
        return {topic: payload for topic, payload, kept in listener.messages if kept}
