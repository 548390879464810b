"""The sink of ``docs/extending.md``, as it stands there, against librdkafka's own test broker."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.pipeline import Pipeline
from facestream.pipeline.cli import main

from tests.faces import face_clip

kafka = pytest.importorskip("confluent_kafka")

SECTION = "## A sink: Kafka in 40 lines"
DOCUMENT = Path(__file__).parents[3] / "docs" / "extending.md"
TYPES = ["appeared", "left"]


def block(language: str) -> str:
    """The section's first block of code in a language."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"{SECTION}\n")[1].split("\n## ")[0]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The document's package, as an installer lays it down."""
    site = tmp_path / "site"
    facts = site / "facestream_kafka-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "facestream_kafka.py").write_text(block("python"), encoding="utf-8")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: facestream-kafka\nVersion: 1.0\n")
    groups = tomllib.loads(block("toml"))["project"]["entry-points"]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("facestream_kafka", None)


@pytest.fixture
def broker() -> Iterator[str]:
    """Host and port of a broker."""
    owner = kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
    (node,) = owner.list_topics(timeout=30).brokers.values()
    yield f"{node.host}:{node.port}"
    owner.flush(1)


def messages(broker: str, topic: str, count: int) -> list[tuple[str, dict[str, object]]]:
    """The first messages of a topic: key and content."""
    consumer = kafka.Consumer({"bootstrap.servers": broker, "group.id": "test"})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    begin = kafka.OFFSET_BEGINNING
    consumer.assign([kafka.TopicPartition(topic, number, begin) for number in partitions])
    try:
        found = consumer.consume(count, timeout=60)
    finally:
        consumer.close()
    assert [message.error() for message in found] == [None] * len(found)
    return [(message.key().decode(), json.loads(message.value())) for message in found]


@pytest.mark.usefixtures("installed")
def test_the_events_of_a_run_arrive(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, events = face_clip(tmp_path / "walk.mp4", frames=6), tmp_path / "events.jsonl"
    address = f"kafka://{broker}/faces?client.id=door"
    assert main(["run", str(clip), "--sink", address, "--events", str(events)]) == 0
    capsys.readouterr()
    written = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["type"] for event in written] == TYPES
    assert messages(broker, "faces", 2) == [(str(clip), event) for event in written]


@pytest.mark.usefixtures("installed")
def test_the_python_api_takes_the_address(broker: str, tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "walk.mp4", frames=6)
    with Pipeline([clip], sinks=[f"kafka://{broker}/more"]) as pipeline:
        pipeline.run()
    assert [content["type"] for _, content in messages(broker, "more", 2)] == TYPES


@pytest.mark.usefixtures("installed")
def test_an_absent_broker_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = face_clip(tmp_path / "walk.mp4", frames=6)
    assert main(["run", str(clip), "--sink", "kafka://127.0.0.1:9/faces?log_level=0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facestream: cannot open the sink 'kafka': KafkaException: ")
