"""What got slower is told from what merely varies, and two machines are not compared."""

from __future__ import annotations

import pytest
from facestream.pipeline.bench.comparison import compare_results
from facestream.pipeline.bench.markdown import to_markdown
from facestream.pipeline.bench.suites import suite_named
from facestream.pipeline.bench.words import comparison_lines, number

from tests.pipeline.bench.examples import of_every_suite, results, row

CALM = (100.0, 101.0, 99.0)


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ((100.0, 101.0, 99.0), "same"),
        ((98.0, 99.0, 97.0), "same"),
        ((90.0, 91.0, 89.0), "slower"),
        ((110.0, 111.0, 109.0), "faster"),
        ((90.0, 120.0, 60.0), "same"),  # slower, but all over the place
    ],
)
def test_only_what_is_beyond_the_noise_is_a_change(rounds: tuple[float, ...], verdict: str) -> None:
    compared = compare_results(results(row(rounds=CALM)), results(row(rounds=rounds)))
    (change,) = compared.changes
    assert change.verdict == verdict
    assert compared.regressions == ([change] if verdict == "slower" else [])


def test_only_rows_with_the_same_key_are_compared() -> None:
    old = results(row(size="480p"), row(size="720p"))
    new = results(row(size="720p"), row(size="1080p"))
    compared = compare_results(old, new)
    assert [dict(change.row.case) for change in compared.changes] == [{"size": "720p"}]
    assert [dict(row.case) for row in compared.only_old] == [{"size": "480p"}]
    assert [dict(row.case) for row in compared.only_new] == [{"size": "1080p"}]


@pytest.mark.parametrize(
    "other", [{"cpu": "Another"}, {"cores": 2}, {"memory_gib": 64.0}, {"gpus": [{"name": "H200"}]}]
)
def test_another_machine_is_not_compared_but_warned_of(other: dict[str, object]) -> None:
    compared = compare_results(results(row(), machine=other), results(row()))
    assert compared.changes == []
    (line,) = comparison_lines(compared)
    assert line.startswith("WARNING: NOT COMPARED: the old figures are of another machine")


def test_other_versions_and_busy_machines_are_told() -> None:
    old = results(row(), machine={"packages": {"openvino": "2025.0"}, "busy": True})
    lines = comparison_lines(compare_results(old, results(row())))
    assert any("busy when the old figures" in line for line in lines)
    assert "other versions: openvino 2025.0 → 2026.4" in lines


def test_the_page_has_machine_tables_missing_peers_and_the_comparison() -> None:
    new = of_every_suite()
    page = to_markdown(new, compare_results(results(row(rounds=(200.0,) * 3)), results(row())))
    for part in (
        "Test CPU (avx2), 4 cores",
        "## detect",
        "## roofline",
        "| size 480p, min face 40, faces 3, batch 1 | facestream fast | 100 pictures/s | 8 % |",
        "- detect: yunet is left out: its ONNX files are not here; name them with --zoo",
        "energy: no counter",
        "| SLOWER |",
    ):
        assert part in page
    widths = {line.count("|") for line in page.split("## embed")[1].split("##")[0].splitlines()}
    assert len(widths - {0}) == 1


def test_an_interrupted_run_says_so() -> None:
    some = of_every_suite()
    some.complete = False
    assert "WARNING: interrupted" in to_markdown(some)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1234.5, "1,234"), (45.67, "45.7"), (0.07891, "0.0789")]
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_what_grows_is_compared_with_its_own_least() -> None:
    """The encoder at 8 faces is in two series: over threads, and over batches."""
    rows = [
        row("scale", rounds=(100.0,), part="encoder", batch=8, threads=1),
        row("scale", rounds=(150.0,), part="encoder", batch=8, threads=2),
        row("scale", rounds=(140.0,), part="encoder", batch=8),
    ]
    rows.append(row("scale", rounds=(70.0,), part="encoder", batch=1))
    times = [done.checks["times"] for done in suite_named("scale").finish(rows)]
    assert times == [1.0, 1.5, 2.0, 1.0]
    assert suite_named("scale").finish(rows)[1].checks["efficiency"] == 0.75
