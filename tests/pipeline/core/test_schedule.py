"""When a camera is watched."""

from __future__ import annotations

import sys
import time
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from facestream.pipeline.core.config.schedule import DAYS, Schedule, Span
from hypothesis import given
from hypothesis import strategies as st

BERLIN = ZoneInfo("Europe/Berlin")
MICROSECOND = timedelta(microseconds=1)

# Lord Howe moves its clocks by half an hour, Samoa left out a day in 2011.
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", None]
)
MOMENTS = st.datetimes(datetime(2011, 12, 20), datetime(2030, 1, 1), timezones=st.just(UTC))


@st.composite
def spans(draw: st.DrawFn) -> str:
    start, end = draw(
        st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda t: t[0] != t[1])
    )
    days = draw(
        st.none()
        | st.lists(st.sampled_from(DAYS), min_size=1, max_size=3).map(",".join)
        | st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map("-".join)
    )
    hours = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    return hours if days is None else f"{days} {hours}"


def berlin(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


@given(st.lists(spans(), max_size=4), ZONES, MOMENTS, st.data())
def test_the_next_change_is_the_next_change(
    texts: list[str], zone: str | None, when: datetime, data: st.DataObject
) -> None:
    schedule = Schedule(texts, timezone=zone)
    change = schedule.next_change(when)
    now = schedule.open_at(when)
    end = change or when + timedelta(days=14)
    assert end > when
    between = [when + (end - when) * share for share in data.draw(st.lists(st.floats(0, 1)))]
    for moment in [*between, end - MICROSECOND]:
        if moment < end:
            assert schedule.open_at(moment) == now
    if change is not None:
        assert schedule.open_at(change) != now


@given(st.lists(spans(), min_size=1, max_size=4), MOMENTS)
def test_it_is_open_when_the_clock_says_so(texts: list[str], when: datetime) -> None:
    """In UTC, where a clock is never moved: minute by minute from the texts."""
    minute = when.hour * 60 + when.minute
    expected = False
    for span in (Span.parse(text) for text in texts):
        today, yesterday = when.weekday(), (when.weekday() - 1) % 7
        expected |= today in span.days and span.start <= minute < span.end
        expected |= yesterday in span.days and minute + 1440 < span.end
    assert Schedule(texts, timezone="UTC").open_at(when) == expected


def test_no_spans_and_a_whole_week_never_change() -> None:
    when = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for texts in ([], ["00:00-24:00"], ["mon-fri 00:00-24:00", "sat,sun 00:00-24:00"]):
        schedule = Schedule(texts, timezone="Europe/Berlin")
        assert schedule.open_at(when)
        assert schedule.next_change(when) is None


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    schedule = Schedule(["fri 22:00-06:00"], timezone="Europe/Berlin")
    assert not schedule.open_at(berlin("2026-11-20T05:00"))  # a Friday
    assert schedule.open_at(berlin("2026-11-20T22:00"))
    assert schedule.open_at(berlin("2026-11-21T05:59:59"))
    assert not schedule.open_at(berlin("2026-11-21T06:00"))
    assert schedule.next_change(berlin("2026-11-20T23:00")) == berlin("2026-11-21T06:00")


def test_spans_that_touch_are_one() -> None:
    schedule = Schedule(["mon 08:00-12:00", "mon 12:00-18:00"], timezone="UTC")
    nine = datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert schedule.next_change(nine) == nine.replace(hour=18)


def test_the_day_on_which_the_clocks_go_forward() -> None:
    # On 29 March 2026 the clocks of Berlin go from 02:00 to 03:00.
    schedule = Schedule(["07:00-19:00"], timezone="Europe/Berlin")
    assert schedule.next_change(berlin("2026-03-28T20:00")) == datetime(2026, 3, 29, 5, tzinfo=UTC)
    skipped = Schedule(["sun 02:00-03:00"], timezone="Europe/Berlin")
    assert skipped.next_change(berlin("2026-03-28T12:00")) == berlin("2026-04-05T02:00")


def test_the_day_on_which_the_clocks_go_back() -> None:
    # On 25 October 2026 they go from 03:00 to 02:00: 02:30 comes twice.
    schedule = Schedule(["22:00-02:30"], timezone="Europe/Berlin")
    assert schedule.open_at(berlin("2026-10-25T02:15", fold=1))
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert schedule.next_change(berlin("2026-10-25T01:00")) == second


@pytest.mark.parametrize(
    ("text", "days", "hours"),
    [
        ("mon-fri 07:00-19:00", {0, 1, 2, 3, 4}, (420, 1140)),
        ("fri-mon 7:00-19:00", {4, 5, 6, 0}, (420, 1140)),
        ("Sat, Sunday 10:00 - 14:00", {5, 6}, (600, 840)),
        ("mon,wed-thu 22:00-06:00", {0, 2, 3}, (1320, 1800)),
        ("00:00-24:00", set(range(7)), (0, 1440)),
    ],
)
def test_spans_as_people_write_them(text: str, days: set[int], hours: tuple[int, int]) -> None:
    assert Span.parse(text) == Span(frozenset(days), *hours)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("always", "'always' is not a time span; write it like 'mon-fri 07:00-19:00'"),
        ("mon 7-19", "'mon 7-19' is not a time span"),
        ("moon 07:00-19:00", "'moon' is not a day of the week; they are mon, tue"),
        ("mon- 07:00-19:00", "'' is not a day of the week"),
        ("mon 07:00-25:00", "25:00 is not a time of day"),
        ("mon 07:61-08:00", "07:61 is not a time of day"),
        ("mon 07:00-07:00", "is empty; the whole day is 00:00-24:00"),
        ("mon 24:00-07:00", "starts at 24:00"),
    ],
)
def test_what_is_no_span(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^.+$") as caught:
        Span.parse(text)
    assert message in str(caught.value)


def test_without_a_time_zone_the_machine_s_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        here, berlin_s = Schedule(["22:00-02:30"]), Schedule(["22:00-02:30"], timezone=BERLIN.key)
        for day in (datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 3, 28, 12, tzinfo=UTC)):
            moment: datetime | None = day
            for _ in range(6):
                assert moment is not None
                assert here.open_at(moment) == berlin_s.open_at(moment)
                moment = here.next_change(moment)
                assert moment == berlin_s.next_change(day)
                day = moment or day
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_system_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("tzdata.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tzdata", None)
    ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=())
    try:
        with pytest.raises(ValueError, match=r"this system has no time zone data; install tzdata"):
            Schedule([], timezone="Europe/Berlin")
    finally:
        zoneinfo.reset_tzpath()


def test_an_unknown_time_zone_and_a_moment_without_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'Europe/Berlin'"):
        Schedule([], timezone="Europe/Berlim")
    for call in (Schedule(["07:00-19:00"]).open_at, Schedule(["07:00-19:00"]).next_change):
        with pytest.raises(ValueError, match="needs a time zone"):
            call(datetime(2026, 1, 1))
