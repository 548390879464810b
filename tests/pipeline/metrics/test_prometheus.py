"""What a Prometheus server reads: over HTTP, parsed by its own parser."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.errors import OutputError, UsageError
from facestream.pipeline.metrics.families import (
    FAMILIES,
    FRAME_AGE,
    FRAMES_DROPPED,
    FRAMES_IN,
    SOURCE_STATE,
)
from facestream.pipeline.metrics.prometheus import MetricsServer
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.channel import Channel
from facestream.pipeline.runtime.source_queue import SourceQueue
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

FREE = Address("127.0.0.1", 0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics) -> Iterator[MetricsServer]:
    with MetricsServer(metrics, FREE) as server:
        yield server


def scrape(server: MetricsServer) -> dict[str, Metric]:
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise AssertionError(f"no {name}{labels}")


def test_every_family_is_exposed_with_its_kind_and_meaning(server: MetricsServer) -> None:
    found = scrape(server)
    assert set(found) == {family.name.removesuffix("_total") for family in FAMILIES}
    assert len(FAMILIES) >= 18
    for family in FAMILIES:
        exposed = found[family.name.removesuffix("_total")]
        assert (exposed.type, exposed.documentation) == (family.kind, family.help)


def test_the_document_is_in_step_with_the_families() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(facestream_\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    assert sorted(rows) == sorted((f.name, f.kind, ", ".join(f.labels)) for f in FAMILIES)


def test_counters_gauges_and_awkward_labels(metrics: Metrics, server: MetricsServer) -> None:
    name = 'a "door"\\ of\nmany'
    metrics.add(FRAMES_IN, 7, source=name)
    metrics.set(SOURCE_STATE, 1, source=name, state="live")
    found = scrape(server)
    assert value(found, "facestream_frames_in_total", source=name) == 7
    assert value(found, "facestream_source_state", source=name, state="live") == 1
    metrics.add(FRAMES_IN, source=name)
    assert value(scrape(server), "facestream_frames_in_total", source=name) == 8
    assert value(found, "facestream_memory_bytes", kind="resident") > 1e6


def test_a_histogram_is_cumulative(metrics: Metrics, server: MetricsServer) -> None:
    for age in (0.001, 0.03, 0.03, 0.21, 500.0):
        metrics.observe(FRAME_AGE, age, source="a")
    found = scrape(server)
    name = "facestream_frame_age_seconds"
    assert value(found, f"{name}_bucket", source="a", le="0.005") == 1
    assert value(found, f"{name}_bucket", source="a", le="0.03") == 3
    assert value(found, f"{name}_bucket", source="a", le="0.225") == 4
    assert value(found, f"{name}_bucket", source="a", le="60.0") == 4
    assert value(found, f"{name}_bucket", source="a", le="+Inf") == 5
    assert value(found, f"{name}_count", source="a") == 5
    assert value(found, f"{name}_sum", source="a") == pytest.approx(500.271)


def test_queues_and_the_drops_of_sources_are_read_at_the_scrape(
    metrics: Metrics, server: MetricsServer
) -> None:
    queue: SourceQueue[int] = SourceQueue()
    channel: Channel[int] = Channel(3, "found")
    metrics.watch(channel.stats)
    metrics.watch_sources(queue.source_stats)
    buffer = queue.open("door", live=True)
    for number in range(5):
        buffer.put(number)
    metrics.add(FRAMES_DROPPED, 2, source="door", cause="superseded")
    metrics.add(FRAMES_DROPPED, 3, source="door", cause="unreadable")
    channel.put(1)
    found = scrape(server)
    dropped = "facestream_frames_dropped_total"
    assert value(found, dropped, source="door", cause="superseded") == 4 + 2
    assert value(found, dropped, source="door", cause="unreadable") == 3
    assert value(found, "facestream_queue_depth", queue="found") == 1
    assert metrics.dropped() == {"door": {"superseded": 6, "unreadable": 3}}


def test_scrapes_while_a_run_writes(metrics: Metrics, server: MetricsServer) -> None:
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.wait(0.001):
            number += 1
            metrics.observe(FRAME_AGE, number % 100 / 50, source=f"cam{number % 3}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            for sample in scrape(server)["facestream_frame_age_seconds"].samples:
                assert sample.value >= 0
    finally:
        ended.set()
        thread.join()


def test_a_taken_port_is_an_error_of_one_line(metrics: Metrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(OutputError, match=r"cannot serve metrics at 127\.0\.0\.1:\d+: Address"):
            MetricsServer(metrics, address)


def test_nothing_answers_after_the_end(metrics: Metrics) -> None:
    with MetricsServer(metrics, FREE) as server:
        scrape(server)
    with pytest.raises(OSError, match="refused"):
        scrape(server)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        (":9109", "127.0.0.1", 9109, True),
        ("9109", "127.0.0.1", 9109, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:9109", "::1", 9109, True),
        ("camera-room:9109", "camera-room", 9109, False),
        ("127.4.5.6:1", "127.4.5.6", 1, True),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text, flag="--metrics")
    assert (address.host, address.port, address.loopback) == (host, port, loopback)
    assert Address.parse(str(address), flag="--metrics") == address


@pytest.mark.parametrize("text", ["", ":", "here", ":x", ":70000", "::1:80", ":-1", ":٣"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="--metrics"):
        Address.parse(text, flag="--metrics")
