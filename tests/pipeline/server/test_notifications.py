"""The service publishes to a broker, and its commands switch cameras."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")
from facestream.pipeline.server.serving import ServiceServer

from tests.pipeline.server.conftest import FREE, settings_for
from tests.pipeline.sightings.stored import appeared
from tests.servers.mosquitto import Mosquitto, MqttListener


def test_events_commands_and_metrics(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, MqttListener(broker.port) as listener:
        settings = settings_for(
            tmp_path / "house.db",
            **{
                "mqtt.url": f"mqtt://127.0.0.1:{broker.port}",
                "mqtt.commands": True,
                "cameras": {"door": {"url": "rtsp://127.0.0.1:1/x"}},
            },
        )
        with ServiceServer(settings, FREE) as server:
            listener.wait(lambda: listener.last("facestream/door/enabled") == "ON")
            server.service.events.publish(appeared())
            listener.wait(lambda: listener.last("facestream/door/person") == "unknown")
            listener.wait(lambda: bool(listener.of("facestream/event")))
            listener.client.publish("facestream/door/set", "OFF", qos=1)
            listener.wait(lambda: listener.last("facestream/door/enabled") == "OFF")
            assert not server.service.cameras.get("door").wanted
            text = httpx.get(f"{server.url}/metrics").text
            assert 'facestream_messages_total{outcome="sent",output="mqtt"}' in text or (
                'facestream_messages_total{output="mqtt",outcome="sent"}' in text
            )
        listener.wait(lambda: listener.last("facestream/status") == "offline")
    assert (tmp_path / "outbox" / "mqtt-facestream.db").exists()
