"""MQTT against a real broker, which is killed, refuses, and speaks TLS."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client")
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import ConfigError, OutputError
from facestream.pipeline.core.events import (
    Appeared,
    Event,
    Identified,
    SourceStateEvent,
    parse_event,
)
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.sightings.forget import Forgotten
from facestream.pipeline.sinks.delivery_counts import DeliveryCounts
from facestream.pipeline.sinks.fan_out import FanOut
from facestream.pipeline.sinks.mqtt.sink import MqttSink
from facestream.pipeline.sinks.mqtt.topics import topic_part
from facestream.pipeline.sinks.notifications import forget_messages
from facestream.pipeline.sinks.outputs import OutputRequest, open_outputs
from prometheus_client import generate_latest

from tests.pipeline.sightings.stored import appeared, left
from tests.servers.mosquitto import Mosquitto, MqttListener, retained
from tests.servers.recorder import make_certificates
from tests.waiting import wait_until

LOGIN = ("house", "hush-hush")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


def settings(tmp_path: Path, port: int, **values: Any) -> Settings:
    url = values.pop("url", f"mqtt://127.0.0.1:{port}")
    keys = {f"mqtt.{key}": value for key, value in values.items()}
    given = {"mqtt.url": url, "mqtt.presence_window": 0.3, "storage.outbox": tmp_path / "outbox"}
    return Settings().with_values({**given, **keys})


def identified(seen: Appeared, person: int, name: str, **more: Any) -> Identified:
    fields = seen.model_dump(exclude={"type", "id", "start", "person_id", "name", "verdict"})
    named = {"person_id": person, "name": name, "verdict": "known", "probability": 0.9}
    return Identified(**fields | named | {"after": 0.4} | more)


def state(camera: str, value: Any) -> SourceStateEvent:
    return SourceStateEvent(source=camera, utc=datetime.now(UTC), state=value)


def test_presence_of_named_people_goes_with_a_window_and_the_last_is_kept(
    tmp_path: Path, broker: Mosquitto
) -> None:
    wanted = settings(tmp_path, broker.port, names=True)
    with MqttListener(broker.port) as listener, MqttSink(wanted) as sink:
        first, second = appeared(), appeared()
        for event in (state("door", "live"), first, second):
            sink.event(event)
        listener.wait(lambda: listener.last("facestream/door/person") == "unknown")
        for event in (identified(first, 2, "Bob"), identified(second, 1, "Alice")):
            sink.event(event)
        listener.wait(lambda: listener.last("facestream/door/person") == "Alice, Bob")
        assert listener.last("facestream/door/health") == "live"
        listener.wait(lambda: listener.last("facestream/person/1/presence") == "ON")
        for event, person in ((first, (2, "Bob")), (second, (1, "Alice"))):
            sink.event(left(event, person_id=person[0], name=person[1], verdict="known"))
        listener.wait(lambda: listener.last("facestream/door/person") == "nobody")
        listener.wait(lambda: listener.last("facestream/person/1/presence") == "OFF")
        attributes = listener.json("facestream/door/attributes")
        assert attributes["people"] == []
        assert attributes["last"]["name"] == "Alice"
        assert listener.json("facestream/person/1/attributes")["camera"] == "door"
    found = retained(broker.port, settled="facestream/status")
    assert found["facestream/status"] == "offline"
    assert found["facestream/door/person"] == "nobody"


def test_retained_messages_have_no_names_unless_they_are_asked_for(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with MqttSink(settings(tmp_path, broker.port)) as sink:
        sink.event(identified(appeared(), 7, "Alice"))
        wait_until(lambda: sink._outbox.waiting == 0)
        found = retained(broker.port, settled="facestream/status")
    assert found["facestream/door/person"] == "person 7"
    assert not any("Alice" in payload for payload in found.values())


def test_home_assistant_finds_cameras_and_people(tmp_path: Path, broker: Mosquitto) -> None:
    with MqttSink(settings(tmp_path, broker.port, names=True)) as sink:
        sink.event(identified(appeared(source="front door"), 7, "Alice"))
        wait_until(lambda: sink._outbox.waiting == 0)
        found = retained(broker.port, settled="facestream/status")
    configs = {t: json.loads(p) for t, p in found.items() if t.startswith("homeassistant/")}
    kinds = sorted(topic.split("/")[1] for topic in configs)
    assert kinds == ["binary_sensor", "event", "sensor", "sensor"]
    for topic, config in configs.items():
        assert topic.endswith("/config")
        assert len(topic.split("/")) == 5
        assert config["availability_topic"] == "facestream/status"
        assert config["unique_id"]
        assert config["device"]["identifiers"]
        assert config["origin"]["name"] == "facestream"
        if config.get("event_types") is None:
            assert config["state_topic"] in found
    (person,) = (config for config in configs.values() if config["device"]["name"] == "Alice")
    assert found[person["state_topic"]] == "ON"
    assert json.loads(found[person["json_attributes_topic"]])["camera"] == "front door"


def test_visitors_and_frigates_messages(tmp_path: Path, broker: Mosquitto) -> None:
    wanted = settings(tmp_path, broker.port, frigate=True)
    with MqttListener(broker.port) as listener, MqttSink(wanted) as sink:
        stranger, known = appeared(verdict="stranger"), appeared()
        sink.event(stranger)
        sink.event(left(stranger, verdict="stranger"))
        sink.event(identified(known, 7, "Alice"))
        listener.wait(lambda: bool(listener.of("frigate/tracked_object_update")))
        assert [json.loads(one) for one in listener.of("facestream/door/visitor")] == [
            {"event_type": "stranger", "camera": "door", "sighting": stranger.sighting}
        ]
        update = listener.json("frigate/tracked_object_update")
        assert update.pop("timestamp") > 1e9
        assert update == {
            "type": "face",
            "id": known.sighting,
            "name": "Alice",
            "score": 0.9,
            "camera": "door",
        }


def test_nothing_is_lost_while_the_broker_is_killed_again_and_again(
    tmp_path: Path, broker: Mosquitto
) -> None:
    sent: list[Event] = []
    wanted = settings(tmp_path, broker.port, home_assistant=False)
    with MqttListener(broker.port, "facestream/event") as listener, MqttSink(wanted) as sink:
        for _ in range(3):
            for number in range(60):
                event = appeared(source=f"camera {number % 3}")
                sent.append(event)
                sink.event(event)
                if number == 30:
                    wait_until(lambda: len(listener.messages) > 0)
                    broker.kill()
            broker.start()

        def ids() -> list[str]:
            return [parse_event(text).id for _, text, _ in list(listener.messages)]

        wait_until(lambda: {event.id for event in sent} == set(ids()))
        for camera in {event.source for event in sent}:
            want = [event.id for event in sent if event.source == camera]
            of_camera = set(want)
            # Sent again at most, never out of order.
            assert list(dict.fromkeys(one for one in ids() if one in of_camera)) == want
        wait_until(lambda: sink._outbox.waiting == 0)


def test_what_waited_is_sent_by_the_next_process_and_states_are_corrected(
    tmp_path: Path, broker: Mosquitto
) -> None:
    wanted = settings(tmp_path, broker.port, names=True)
    sink = MqttSink(wanted)
    sink.event(identified(appeared(), 7, "Alice"))
    wait_until(lambda: sink._outbox.waiting == 0)
    broker.kill()
    event = appeared()
    sink.event(event)
    sink._sender.close(0)  # as a crash: nothing is said, nothing is sent
    sink.close()
    broker.start()
    with MqttListener(broker.port) as listener, MqttSink(wanted):
        listener.wait(lambda: listener.last("facestream/door/person") == "nobody")
        listener.wait(lambda: listener.last("facestream/person/7/presence") == "OFF")
        listener.wait(lambda: bool(listener.of("facestream/event")))
        assert listener.json("facestream/event")["id"] == event.id
        assert listener.json("facestream/door/attributes")["last"]["name"] == "Alice"


def test_forgetting_clears_what_is_retained_and_what_waits(
    tmp_path: Path, broker: Mosquitto
) -> None:
    wanted = settings(tmp_path, broker.port, names=True)
    alice, bob = appeared(), appeared(source="yard")
    with MqttSink(wanted) as sink:
        sink.event(identified(alice, 7, "Alice"))
        sink.event(identified(bob, 8, "Bob"))
        wait_until(lambda: sink._outbox.waiting == 0)
        broker.kill()
        sink.event(left(alice, person_id=7, name="Alice", verdict="known"))
        gone = Forgotten(frozenset({alice.sighting}), "Alice", 7)
        (done,) = forget_messages(wanted, gone).values()
        assert done["messages"] == 1
        assert done["retained"] >= 4
        broker.start()
        with MqttListener(broker.port) as listener:
            listener.wait(lambda: listener.last("facestream/status") == "online")
            wait_until(lambda: sink._outbox.waiting == 0)
        found = retained(broker.port, settled="facestream/status")
    assert not any("Alice" in payload or "person/7" in topic for topic, payload in found.items())
    assert found["facestream/person/8/presence"] == "ON"
    assert found["facestream/door/person"] == "nobody"
    assert b"Alice" not in b"".join(p.read_bytes() for p in (tmp_path / "outbox").glob("*.db"))


def test_a_run_opens_what_the_settings_name(tmp_path: Path, broker: Mosquitto) -> None:
    hook = {"name": "phone", "url": "https://hook.example/", "secret": "0123456789abcdef"}
    wanted = settings(tmp_path, broker.port).with_values({"webhooks": [hook]})
    with FanOut(open_outputs(OutputRequest(), wanted, []).sinks) as sinks:
        metrics = Metrics()
        sinks.count_in(metrics)
        text = generate_latest(metrics.registry).decode()
        sinks.event(appeared())
    assert text.count("# HELP facestream_messages_waiting") == 1
    assert 'facestream_messages_waiting{output="webhook phone"}' in text
    assert retained(broker.port, settled="facestream/status")["facestream/door/person"] == "nobody"


def test_forgetting_without_a_running_process_clears_the_broker(
    tmp_path: Path, broker: Mosquitto
) -> None:
    wanted = settings(tmp_path, broker.port, names=True)
    with MqttSink(wanted) as sink:
        sink.event(identified(appeared(), 7, "Alice"))
    forget_messages(wanted, Forgotten(frozenset(), "Alice", 7))
    found = retained(broker.port, settled="facestream/status")
    assert not any("Alice" in payload or "person/7" in topic for topic, payload in found.items())


def test_a_lost_process_is_offline_by_its_will(tmp_path: Path, broker: Mosquitto) -> None:
    with MqttListener(broker.port, "facestream/status") as listener:
        sink = MqttSink(settings(tmp_path, broker.port))
        listener.wait(lambda: listener.last("facestream/status") == "online")
        with MqttSink(settings(tmp_path / "other", broker.port)):  # takes the client's name
            listener.wait(lambda: "offline" in listener.of("facestream/status"))
            sink._sender.close(0)
        sink.close()


def test_a_wrong_password_is_one_line_and_messages_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Mosquitto(tmp_path / "broker", login=LOGIN) as broker:
        wrong = settings(tmp_path, broker.port, username="house", password="wrong-one")
        counts = DeliveryCounts()
        with MqttSink(wrong, counts) as sink:
            sink.event(appeared())
            wait_until(lambda: counts.value("mqtt", "failed") > 0)
            sink._sender.close(0)
        lines = [record.getMessage() for record in caplog.records]
        assert any("refuses: not authorized" in line for line in lines)
        assert "wrong-one" not in caplog.text
        right = settings(tmp_path, broker.port, username="house", password="${PASSWORD}")
        with (
            MqttListener(broker.port, login=LOGIN) as listener,
            MqttSink(right, environment={"PASSWORD": LOGIN[1]}),
        ):
            listener.wait(lambda: len(listener.of("facestream/event")) == 1)


# paho leaves the socket of a failed handshake to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_verified(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = make_certificates(tmp_path)
    files = made.good, made.good.with_suffix(".key")
    with Mosquitto(tmp_path / "broker", certificates=files) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        counts = DeliveryCounts()
        with MqttSink(settings(tmp_path, 0, url=url), counts) as sink:
            wait_until(lambda: counts.value("mqtt", "failed") > 0)
            assert counts.value("mqtt", "sent") == 0
            sink._sender.close(0)
        assert "certificate" in caplog.text
        gc.collect()
        with (
            MqttListener(broker.port, ca=made.ca) as listener,
            MqttSink(settings(tmp_path, 0, url=url, tls_ca=made.ca)) as sink,
        ):
            sink.event(appeared())
            listener.wait(lambda: len(listener.of("facestream/event")) == 1)


def test_commands_switch_cameras_only_where_they_are_allowed(
    tmp_path: Path, broker: Mosquitto
) -> None:
    class House:
        def __init__(self) -> None:
            self.on = {"door": True}

        def camera_names(self) -> list[str]:
            return list(self.on)

        def is_on(self, name: str) -> bool:
            return self.on[name]

        def switch(self, name: str, *, on: bool) -> None:
            self.on[name] = on

    house = House()
    wanted = settings(tmp_path, broker.port, commands=True)
    with MqttListener(broker.port) as listener, MqttSink(wanted, cameras=house):
        listener.wait(lambda: listener.last("facestream/door/enabled") == "ON")
        for payload in ("what", "OFF"):
            listener.client.publish("facestream/door/set", payload, qos=1)
        listener.wait(lambda: listener.last("facestream/door/enabled") == "OFF")
        assert not house.on["door"]
        listener.wait(lambda: any("/switch/" in topic for topic, _, _ in listener.messages))
    with MqttSink(settings(tmp_path, broker.port), cameras=house) as sink:
        assert sink._cameras is None


def test_the_outbox_is_bounded_counted_and_of_one_process(tmp_path: Path) -> None:
    counts = DeliveryCounts()
    wanted = settings(tmp_path, 9, max_waiting=10, home_assistant=False)
    with MqttSink(wanted, counts) as sink:
        for _ in range(15):
            sink.event(appeared())
        assert counts.value("mqtt", "dropped") == 5
        with pytest.raises(OutputError, match="another run"):
            MqttSink(wanted)
        (path,) = (tmp_path / "outbox").glob("*.db")
        assert path.stat().st_mode & 0o777 == 0o600
        sink._sender.close(0)


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "mqtt://h:99999", "mqtt://h/x"])
def test_a_url_that_is_none_of_a_broker(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.url"):
        MqttSink(settings(tmp_path, 0, url=url))


def test_a_file_of_messages_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "mqtt-facestream.db").write_bytes(b"something else" * 100)
    with pytest.raises(OutputError, match=r"cannot use .*: file is not a database"):
        MqttSink(settings(tmp_path, 9))


def test_a_camera_may_be_called_person(tmp_path: Path, broker: Mosquitto) -> None:
    wanted = settings(tmp_path, broker.port)
    for _ in range(2):
        with MqttSink(wanted) as sink:
            sink.event(state("person", "live"))
            sink._outbox.set_state("facestream/person/enabled", b"ON")
    found = retained(broker.port, settled="facestream/status")
    assert found["facestream/person/health"] == "live"


def test_names_of_cameras_become_one_level_of_a_topic() -> None:
    assert topic_part("door") == "door"
    names = ["a/b", "a+b", "a#b", "a-b", "a\x00b", "$SYS", "", "Tür", "\ud800"]
    parts = [topic_part(name) for name in names]
    assert len(set(parts)) == len(names)
    assert not any(set(part) & set("+#/$\x00") for part in parts)
    assert topic_part("Tür") == "Tür"
