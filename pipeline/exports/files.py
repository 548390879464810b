"""Rows as CSV, Parquet or iCalendar: the one function behind command and route."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO, Final, Literal, get_args

from ..core.errors import UsageError
from ..core.versions import facestream_version
from ..sightings import SightingFilter, Sightings
from .rows import PRESENCE_COLUMNS, SIGHTING_COLUMNS, Stay, presences, sighting_rows

What = Literal["sightings", "presence"]
Format = Literal["csv", "parquet", "ical"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
MEDIA_TYPES: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "ical": "text/calendar; charset=utf-8",
}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_CHUNK: Final = 10_000


def export(
    sightings: Sightings, what: What, kind: Format, wanted: SightingFilter, out: BinaryIO
) -> int:
    """Write what matches into a binary file; returns the number of rows or entries.

    Args:
        what: ``sightings``, the newest first; ``presence``: when each person with a name was there,
            the earliest first.
        kind: ``csv`` is RFC 4180 in UTF-8, where texts that a spreadsheet would take for a formula
            begin with an apostrophe; ``ical`` is for ``presence`` only.

    Raises:
        UsageError: it cannot be written in this format, or a package is missing.
    """
    if kind == "ical":
        if what != "presence":
            raise UsageError("a calendar (ical) shows presence; export that, or choose csv")
        return _calendar(presences(sightings, wanted), out)
    columns = SIGHTING_COLUMNS if what == "sightings" else PRESENCE_COLUMNS
    rows: Iterable[list[Any]] = (
        sighting_rows(sightings, wanted)
        if what == "sightings"
        else (one.row() for one in presences(sightings, wanted))
    )
    return (_csv if kind == "csv" else _parquet)(columns, iter(rows), out)


def _csv(columns: dict[str, type], rows: Iterator[list[Any]], out: BinaryIO) -> int:
    text = io.TextIOWrapper(out, "utf-8", errors="backslashreplace", newline="")
    try:
        writer, count = csv.writer(text, lineterminator="\r\n"), 0
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(value) for value in row])
            count += 1
        text.flush()
        return count
    finally:
        text.detach()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _parquet(columns: dict[str, type], rows: Iterator[list[Any]], out: BinaryIO) -> int:
    _need("pyarrow", "pyarrow", "parquet")
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    count = 0
    with pq.ParquetWriter(out, schema) as writer:
        while chunk := list(islice(rows, _CHUNK)):
            arrays = [
                pa.array(values, field.type)
                for values, field in zip(zip(*chunk, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(chunk)
    return count


def _calendar(found: list[Stay], out: BinaryIO) -> int:
    _need("icalendar", "icalendar", "ical")
    from icalendar import Calendar, Event

    calendar = Calendar()
    calendar.add("prodid", f"-//facestream//{facestream_version()}//EN")
    calendar.add("version", "2.0")
    now = datetime.now(UTC)
    for one in found:
        event = Event()
        event.add("uid", f"{one.person_id}-{one.start:%Y%m%dT%H%M%S}@facestream")
        event.add("dtstamp", now)
        event.add("dtstart", one.start.astimezone(UTC).replace(microsecond=0))
        event.add("dtend", one.end.astimezone(UTC).replace(microsecond=0))
        event.add("summary", one.name)
        event.add("location", ", ".join(sorted(one.sources)))
        event.add("class", "PRIVATE")
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    out.write(calendar.to_ical())
    return len(found)


def _need(module: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(
            f"this format needs {package}, which is not installed: "
            f"pip install 'facestream[{extra}]'"
        )
