"""The promises of the runtime: the first error surfaces, nothing hangs, stopping drains."""

from __future__ import annotations

import random
import threading
import time

import pytest
from facestream.pipeline.core.errors import StageFailed, StuckThread
from facestream.pipeline.observability.report import limiting_queue
from facestream.pipeline.runtime.supervisor import Supervisor

from tests.pipeline.runtime.harness import STAGES, Item, Planted, Probe, Rig, facestream_threads
from tests.waiting import wait_until


def test_clean_run_loses_nothing_and_keeps_order() -> None:
    for seed in range(25):
        rng = random.Random(seed)
        items = [rng.randint(0, 30) for _ in range(rng.randint(1, 3))]
        rig = Rig(rng, [Probe(name, hold=rng.randint(0, 3)) for name in STAGES], items=items)
        rig.start()
        got = rig.consume()
        rig.supervisor.join(30)
        assert len(set(got)) == len(got) == sum(items), f"seed {seed}"
        for number, count in enumerate(items):
            assert [i for source, i in got if source == f"s{number}"] == list(range(count))
        assert [probe.closed for probe in rig.probes] == [1, 1, 1, 1]
        assert all(link.stats().high_water <= link.capacity for link in rig.links)
    assert facestream_threads() == []


def test_two_hundred_failures_never_hang() -> None:
    """Each stage, and a source, raises at a random item, in flush or in close."""
    victims = [*STAGES, "s0"]
    for seed in range(200):
        rng = random.Random(1000 + seed)
        victim = victims[seed % len(victims)]
        fail_at = rng.choice([0, 0, *range(12), -1, -2]) if victim != "s0" else rng.randrange(12)
        probes = [
            Probe(name, hold=rng.randint(0, 2), fail_at=fail_at if name == victim else None)
            for name in STAGES
        ]
        rig = Rig(rng, probes, fail_source=fail_at if victim == "s0" else None)
        rig.start()
        if fail_at != 0:  # the first frame gets that far without a reader: let the queues fill up
            rig.consume()
        with pytest.raises(StageFailed) as caught:
            rig.supervisor.join(30)
        assert caught.value.stage == victim, f"seed {seed}"
        assert isinstance(caught.value.__cause__, Planted), f"seed {seed}"
        assert rig.supervisor.running == []
        assert [probe.closed for probe in probes] == [1, 1, 1, 1], f"seed {seed}"
    assert facestream_threads() == []


def test_two_errors_the_first_wins() -> None:
    first = threading.Event()

    def early() -> None:
        first.set()
        raise Planted("early")

    def late() -> None:
        first.wait(10)
        wait_until(lambda: supervisor.error is not None)
        raise Planted("late")

    supervisor = Supervisor()
    supervisor.spawn("late", late)
    supervisor.spawn("early", early)
    for _ in range(2):  # join may be called again
        with pytest.raises(StageFailed, match="'early' failed: Planted: early"):
            supervisor.join(10)


def test_even_system_exit_does_not_die_silently() -> None:
    supervisor = Supervisor()

    def leave() -> None:
        raise SystemExit(3)

    supervisor.spawn("leaver", leave)
    with pytest.raises(StageFailed, match="leaver"):
        supervisor.join(10)


def test_stop_at_random_moments_drains_what_was_read() -> None:
    for seed in range(60):
        rng = random.Random(2000 + seed)
        rig = Rig(rng, [Probe(name, hold=rng.randint(0, 2)) for name in STAGES], items=(400, 400))
        rig.start()
        stop_after = rng.randint(0, 60)
        got: list[Item] = []
        while len(got) < stop_after:
            got.append(rig.results.get())
        rig.supervisor.stop()
        rig.supervisor.stop()
        got += rig.consume()
        rig.supervisor.join(30)
        for feeder in rig.feeders:
            mine = [index for source, index in got if source == feeder.buffer.name]
            assert mine == list(range(feeder.delivered)), f"seed {seed}"
        assert [probe.closed for probe in rig.probes] == [1, 1, 1, 1]
    assert facestream_threads() == []


def test_abort_at_random_moments_ends_without_a_reader() -> None:
    for seed in range(60):
        rng = random.Random(3000 + seed)
        rig = Rig(rng, [Probe(name) for name in STAGES], items=(400, 400))
        rig.start()
        for _ in range(rng.randint(0, 30)):
            rig.results.get()
        rig.supervisor.abort()
        rig.supervisor.join(30)
        assert rig.results.aborted
        assert [probe.closed for probe in rig.probes] == [1, 1, 1, 1]
    assert facestream_threads() == []


def test_reader_that_leaves_stops_the_run() -> None:
    rig = Rig(random.Random(5), [Probe(name) for name in STAGES], items=(400, 400))
    rig.start()
    rig.results.get()
    rig.results.close()
    rig.supervisor.join(30)
    assert sum(feeder.delivered for feeder in rig.feeders) < 800


def test_stuck_thread_is_named_after_the_deadline() -> None:
    release = threading.Event()
    supervisor = Supervisor(grace=0.05)
    supervisor.spawn("good", lambda: None)
    supervisor.spawn("hung", lambda: release.wait(30))
    with pytest.raises(StuckThread, match=r"within 0\.1\d* s: hung") as caught:
        supervisor.join(0.1)
    assert caught.value.threads == ["hung"]
    supervisor.abort()
    with pytest.raises(StuckThread, match="hung"):
        supervisor.join()  # the grace time ends the waiting
    release.set()
    supervisor.join(10)


def test_error_tells_of_stuck_threads() -> None:
    release = threading.Event()
    supervisor = Supervisor(grace=0.05)
    supervisor.spawn("hung", lambda: release.wait(30))

    def fail() -> None:
        raise Planted("x")

    supervisor.spawn("bad", fail)
    with pytest.raises(StageFailed) as caught:
        supervisor.join()
    assert caught.value.__notes__ == ["still running: hung"]
    release.set()


def test_block_that_raises_aborts_and_joins() -> None:
    supervisor = Supervisor()
    channel = supervisor.channel(1, "c")
    supervisor.spawn("reader", channel.get)
    with pytest.raises(ZeroDivisionError), supervisor:
        raise ZeroDivisionError
    assert channel.aborted
    assert supervisor.running == []


def test_block_that_ends_waits_and_raises() -> None:
    def fail() -> None:
        raise Planted("x")

    with pytest.raises(StageFailed, match="bad"), Supervisor() as supervisor:
        supervisor.spawn("bad", fail)


def test_block_keeps_its_own_error_and_notes_the_other() -> None:
    def fail() -> None:
        raise Planted("x")

    supervisor = Supervisor()
    supervisor.spawn("bad", fail)
    wait_until(lambda: supervisor.error is not None)
    with pytest.raises(ZeroDivisionError) as caught, supervisor:
        raise ZeroDivisionError
    assert caught.value.__notes__ == ["while stopping: stage 'bad' failed: Planted: x"]


def test_what_is_started_after_an_abort_ends_at_once_and_is_closed() -> None:
    rig = Rig(random.Random(3), [Probe(name) for name in STAGES], items=(400, 400))
    rig.supervisor.abort()
    rig.start()  # as when the first thread fails while the others are being started
    rig.supervisor.join(30)
    assert [probe.closed for probe in rig.probes] == [1, 1, 1, 1]
    assert [feeder.delivered for feeder in rig.feeders] == [0, 0]
    assert rig.supervisor.channel(1, "late").aborted


def test_names_are_unique() -> None:
    supervisor = Supervisor()
    supervisor.spawn("a", lambda: None)
    with pytest.raises(ValueError, match="named 'a'"):
        supervisor.spawn("a", lambda: None)
    supervisor.join(10)


def test_stop_callbacks_run_once() -> None:
    called: list[int] = []
    supervisor = Supervisor()
    supervisor.on_stop(lambda: called.append(1))
    supervisor.stop()
    supervisor.abort()
    supervisor.stop()
    assert called == [1]
    assert supervisor.stopping


class Slow(Probe):
    """A stage that takes its time."""

    def __call__(self, batch):  # type: ignore[no-untyped-def]
        time.sleep(0.004 * len(batch))
        return super().__call__(batch)


@pytest.mark.parametrize(
    ("slow", "queue"), [("detect", "inbox"), ("track", "found"), ("sink", "tracked")]
)
def test_report_names_the_queue_that_limits(slow: str, queue: str) -> None:
    probes = [Slow(name) if name == slow else Probe(name) for name in STAGES]
    rig = Rig(random.Random(7), probes, items=(40, 40))
    for stats in (rig.queue.stats, *(link.stats for link in rig.links)):
        rig.metrics.watch(stats)
    rig.start()
    rig.consume()
    rig.supervisor.join(30)
    limit = limiting_queue(rig.metrics.queues())
    assert limit is not None
    assert limit.name == queue
