"""The timing cache's file. TensorRT itself, which keeps one, needs a GPU: its part is played."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from facestream.engines.tensorrt.build import load_timings, save_timings


class Cache:
    """An ``ITimingCache``: what was timed, in bytes."""

    def __init__(self, known: bytes) -> None:
        self.known = known

    def serialize(self) -> bytes:
        return self.known


class Config:
    """As much of ``IBuilderConfig`` as there is to a timing cache."""

    def __init__(self) -> None:
        self.cache: Cache | None = None

    def create_timing_cache(self, known: bytes) -> Cache | None:
        return None if known == b"damaged" else Cache(known)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        if cache.known == b"of another card" and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache


def build(path: Path) -> bytes:
    """A build that times one more kernel; returns what it knew before."""
    config = Config()
    load_timings(path, config)
    assert config.cache is not None
    before = config.cache.known
    config.cache.known += b"."
    save_timings(path, config)
    return before


def test_a_build_knows_what_earlier_ones_timed(tmp_path: Path) -> None:
    path = tmp_path / "timings.cache"
    assert [build(path) for _ in range(3)] == [b"", b".", b".."]
    assert path.read_bytes() == b"..."


@pytest.mark.parametrize("content", [b"damaged", b"of another card"])
def test_what_does_not_fit_is_begun_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "timings.cache"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert build(path) == b""
    assert "damaged: replaced" in caplog.text
    assert path.read_bytes() == b"."


def test_without_a_cache_nothing_is_written(tmp_path: Path) -> None:
    save_timings(tmp_path / "none", Config())
    assert not (tmp_path / "none").exists()
