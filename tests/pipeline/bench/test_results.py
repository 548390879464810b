"""The JSON file comes back as it was, and what is no such file is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from facestream.pipeline.bench.results import SCHEMA, Missing, load_results
from facestream.pipeline.core.errors import UsageError

from tests.pipeline.bench.examples import of_every_suite


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    written = of_every_suite()
    written.note("beside other work")
    written.save(path)
    assert load_results(path) == written
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]


def test_the_file_has_schema_median_and_spread(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    of_every_suite().save(path)
    content = json.loads(path.read_text())
    assert content["schema"] == SCHEMA
    first = content["rows"][0]
    assert first["median"] == 100.0
    assert first["spread"] == pytest.approx(0.08)
    assert first["rounds"] == [100.0, 104.0, 96.0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "has no 'schema'"),
        ('{"summary": []}', "has no 'schema'"),
        (f'{{"schema": {SCHEMA + 1}}}', f"has schema {SCHEMA + 1}"),
        ('{"schema": 1}', "is damaged"),
        ('{"schema": 1, "machine": {}, "measured_at": "", "rows": [{}]}', "is damaged"),
        (
            '{"schema": 1, "machine": {}, "measured_at": "", "rows": [{"suite": "a", '
            '"contender": "b", "case": {}, "unit": "c", "rounds": []}]}',
            "is damaged",
        ),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=told):
        load_results(path)


def test_the_file_names_no_folders() -> None:
    some = of_every_suite()
    reason = "no int8 of a.onnx (/opt/me/models/a.xml); see https://example.org/a/b or /etc/c"
    some.leave_out(Missing("embed", "int8", reason))
    written = some.to_json()["missing"][-1]["reason"]
    assert written == "no int8 of a.onnx (a.xml); see https://example.org/a/b or c"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_results(tmp_path / "nothing.json")
