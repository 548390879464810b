"""The JSON file comes back as it was, and what is no such file is refused in one line."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from facestream.pipeline.cli.bench_results import (
    SCHEMA,
    Missing,
    describe_machine,
    differences,
    load_results,
)
from facestream.pipeline.core.errors import UsageError

from tests.benchmarks.examples import of_several_suites


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    written = of_several_suites()
    written.notes.append("beside other work")
    written.save(path)
    assert load_results(path) == written
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]


def test_the_file_has_schema_median_and_spread(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    of_several_suites().save(path)
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
    some = of_several_suites()
    reason = "no int8 of a.onnx (/opt/me/models/a.xml); see https://example.org/a/b or /etc/c"
    some.missing.append(Missing("embed", "int8", reason))
    written = some.to_json()["missing"][-1]["reason"]
    assert written == "no int8 of a.onnx (a.xml); see https://example.org/a/b or c"


def test_files_of_the_first_schema_are_read() -> None:
    recorded = Path(__file__).parents[2] / "benchmarks" / "results" / "bench_detect.json"
    assert json.loads(recorded.read_text())["schema"] == 1
    rows = load_results(recorded).rows
    assert {row.suite for row in rows} == {"detect"}
    assert all(row.median > 0 for row in rows)


def test_a_machine_equals_itself_and_has_no_names() -> None:
    machine = describe_machine()
    assert differences(machine, describe_machine()) == []
    assert machine["cores"] >= 1
    assert machine["packages"]["numpy"]
    assert platform.node() not in str(machine).split()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_results(tmp_path / "nothing.json")
