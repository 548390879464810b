"""Changes beyond the noise are marked, and two machines are not compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from facestream.pipeline.cli.bench import number
from facestream.pipeline.cli.bench_results import compare_results

from benchmarks.tables import markdown
from tests.benchmarks.examples import of_several_suites, results, row

CALM = (100.0, 101.0, 99.0)


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ((100.0, 101.0, 99.0), "same"),
        ((98.0, 99.0, 97.0), "same"),
        ((90.0, 91.0, 89.0), "worse"),
        ((110.0, 111.0, 109.0), "better"),
        ((90.0, 120.0, 60.0), "same"),  # slower, but all over the place
    ],
)
def test_only_what_is_beyond_the_noise_is_a_change(rounds: tuple[float, ...], verdict: str) -> None:
    compared = compare_results(results(row(rounds=CALM)), results(row(rounds=rounds)))
    (change,) = compared.changes
    assert change.verdict == verdict
    assert change.mark == {"same": "", "worse": "SLOWER", "better": "faster"}[verdict]


@pytest.mark.parametrize(
    ("unit", "half", "twice"),
    [("s", "faster", "SLOWER"), ("ms", "faster", "SLOWER"), ("MB", "less", "MORE")],
)
def test_less_is_better_of_times_and_sizes(unit: str, half: str, twice: str) -> None:
    old = results(replace(row(rounds=CALM), unit=unit))
    for rounds, mark in (((50.0,) * 3, half), ((200.0,) * 3, twice)):
        new = results(replace(row(rounds=rounds), unit=unit))
        assert compare_results(old, new).changes[0].mark == mark


def test_other_arguments_are_a_warning() -> None:
    old, new = results(row()), results(row())
    old.arguments["min_face"], new.arguments["min_face"] = 40, 20
    assert "WARNING: min_face was 40 then and is 20 now" in compare_results(old, new).lines


def test_only_rows_with_the_same_key_are_compared() -> None:
    old = results(row(size="480p"), row(size="720p"))
    new = results(row(size="720p"), row(size="1080p"))
    compared = compare_results(old, new)
    assert [dict(change.row.case) for change in compared.changes] == [{"size": "720p"}]
    assert compared.lines[-1].endswith("; 1 are only in the old file, 1 only here")


@pytest.mark.parametrize(
    "other", [{"cpu": "Another"}, {"cores": 2}, {"memory_gib": 64.0}, {"gpus": [{"name": "H200"}]}]
)
def test_another_machine_is_not_compared_but_warned_of(other: dict[str, object]) -> None:
    compared = compare_results(results(row(), machine=other), results(row()))
    assert compared.changes == []
    (line,) = compared.lines
    assert line.startswith("WARNING: NOT COMPARED: the old figures are of another machine")


def test_other_versions_and_busy_machines_are_reported() -> None:
    old = results(row(), machine={"packages": {"openvino": "2025.0"}, "busy": True})
    lines = compare_results(old, results(row())).lines
    assert any("busy when the old figures" in line for line in lines)
    assert "other versions: openvino 2025.0 → 2026.4" in lines


def test_the_page_has_machine_tables_missing_peers_and_the_comparison() -> None:
    new = of_several_suites()
    page = markdown(new, compare_results(results(row(rounds=(200.0,) * 3)), results(row())))
    for part in (
        "Test CPU (avx2), 4 cores",
        "## detect",
        "## views",
        "| size 480p, min face 40, faces 3, batch 1 | facestream fast | 100 pictures/s | 8 % |",
        "- detect: yunet is left out: its ONNX files are not here; name them with --zoo",
        "| SLOWER |",
    ):
        assert part in page
    widths = {line.count("|") for line in page.split("## embed")[1].split("##")[0].splitlines()}
    assert len(widths - {0}) == 1


def test_an_interrupted_run_says_so() -> None:
    some = of_several_suites()
    some.complete = False
    assert "WARNING: interrupted" in markdown(some)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1234.5, "1,234"), (45.67, "45.7"), (0.07891, "0.0789")]
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown
