"""A process that publishes is killed at any moment; what it took on is published nonetheless."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("paho.mqtt.client")
from tests.servers.mosquitto import Mosquitto, MqttListener
from tests.waiting import wait_until

CHILD = """
import sys
import time
import conftest
from facestream.pipeline.core.config import Settings
from facestream.pipeline.sinks.mqtt.sink import MqttSink
from tests.pipeline.sightings.stored import appeared

port, folder, count = sys.argv[1:]
settings = Settings().with_values(
    {"mqtt.url": f"mqtt://127.0.0.1:{port}", "storage.outbox": folder, "mqtt.presence_window": 0.1}
)
with MqttSink(settings) as sink:
    for _ in range(int(count)):
        event = appeared()
        sink.event(event)
        print(event.id, flush=True)  # it was taken on
        time.sleep(0.004)
"""


def child(port: int, folder: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(port), str(folder), str(count)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_was_taken_on_is_published_after_a_kill(tmp_path: Path) -> None:
    taken: list[str] = []
    with Mosquitto(tmp_path / "broker") as broker, MqttListener(broker.port) as listener:
        with child(broker.port, tmp_path / "outbox", 100_000) as process:
            assert process.stdout is not None
            for line in process.stdout:
                taken.append(line.strip())
                if len(taken) == 50:
                    process.kill()
        wait_until(lambda: listener.last("facestream/status") == "offline")
        with child(broker.port, tmp_path / "outbox", 0) as process:
            assert process.wait() == 0
        found = [text.split('"id":"')[1][:32] for text in listener.of("facestream/event")]
        complete = [one for one in taken if len(one) == 32]
        assert set(complete) <= set(found)
        order = [one for one in dict.fromkeys(found) if one in set(complete)]
        assert order == complete
        # Nobody is there any more.
        assert listener.last("facestream/door/person") == "nobody"
