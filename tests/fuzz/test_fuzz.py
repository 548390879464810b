"""Damaged and hostile files of every kind give a result or one clear line."""

from __future__ import annotations

from pathlib import Path
from random import Random

from .campaign import fuzz
from .kinds import KINDS
from .mutate import mutated


def test_two_hundred_inputs(tmp_path: Path) -> None:
    report = fuzz(range(200), tmp_path)
    assert report.failures == []
    assert report.inputs == 200
    assert set(report.outcomes) == set(KINDS)
    assert sum(counts["ok"] for counts in report.outcomes.values()) > 20
    assert sum(counts["error"] for counts in report.outcomes.values()) > 20


def test_the_same_seed_gives_the_same_input() -> None:
    seeds = [bytes(range(200)), b"text " * 30]
    first, again, other = (mutated(seeds, [b"token"], Random(seed)) for seed in "aab")
    assert first == again != other
