"""Verdicts are kept for exactly what they were given for, and nothing on disk can spoil them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from facestream.engines.parity import Verdict, VerdictIdentity, VerdictStore

from .fakes_parity import Fake, FakeGate

IDENTITY = VerdictIdentity(
    "ab" * 32, "openvino", "openvino 1, some CPU", "CPU", "bfloat16", "gate-1"
)
PASSED = Verdict({"cosine_min": 0.9997})


def judged(folder: Path, gate: FakeGate, engine: Fake, network: str = "n") -> Verdict:
    return VerdictStore(folder).judged(engine, gate, network=network, machine="here")


def test_an_engine_is_judged_once(tmp_path: Path) -> None:
    gate = FakeGate()
    first = judged(tmp_path, gate, Fake())
    assert judged(tmp_path, gate, Fake()) == first
    assert gate.asked == ["bfloat16"]
    assert first.passed
    assert dict(first.figures) == {"cosine_min": 0.9999}


def test_a_refusal_is_kept_with_its_figures(tmp_path: Path) -> None:
    gate = FakeGate("bfloat16")
    judged(tmp_path, gate, Fake())
    again = judged(tmp_path, gate, Fake())
    assert not again.passed
    assert "0.5" in again.refused[0]
    assert len(gate.asked) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"network": "cd" * 32},
        {"backend": "onnxruntime"},
        {"machine": "openvino 2, some CPU"},
        {"device": "cuda:0"},
        {"precision": "float16"},
        {"gate": "gate-2"},
    ],
)
def test_another_engine_another_verdict(tmp_path: Path, change: dict[str, str]) -> None:
    store = VerdictStore(tmp_path)
    store.put(IDENTITY, PASSED)
    assert store.find(IDENTITY) == PASSED
    assert store.find(replace(IDENTITY, **change)) is None


def _foreign(data: bytes) -> bytes:
    kept = json.loads(data)
    kept["identity"]["precision"] = "float16"
    return json.dumps(kept).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff\xfe\x00",
        lambda data: b"[1, 2]",
        lambda data: b'{"identity": 1}',
        lambda data: data.replace(b"0.9999", b'"much"'),
        _foreign,
    ],
    ids=["empty", "cut", "binary", "list", "other", "text", "foreign"],
)
def test_a_spoilt_file_is_judged_again_and_written_anew(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    gate = FakeGate()
    judged(tmp_path, gate, Fake())
    (file,) = (tmp_path / "verdicts").iterdir()
    good = file.read_bytes()
    file.write_bytes(spoil(good))
    assert judged(tmp_path, gate, Fake()).passed
    assert len(gate.asked) == 2
    assert file.read_bytes() == good


def test_where_nothing_can_be_written_each_start_judges(tmp_path: Path) -> None:
    # A file where the folder should be: no rights stop root, who runs tests in containers.
    (tmp_path / "verdicts").write_bytes(b"")
    gate = FakeGate()
    assert judged(tmp_path, gate, Fake()).passed
    assert judged(tmp_path, gate, Fake()).passed
    assert len(gate.asked) == 2


def test_nothing_but_the_verdict_is_left(tmp_path: Path) -> None:
    judged(tmp_path, FakeGate(), Fake())
    assert [path.suffix for path in (tmp_path / "verdicts").iterdir()] == [".json"]


def test_without_a_folder_the_process_remembers() -> None:
    gate = FakeGate(key="of this test alone")
    store = VerdictStore(None)
    for _ in range(2):
        store.judged(Fake(), gate, network="n", machine="here")
    assert len(gate.asked) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
@pytest.mark.parametrize("theirs", ["verdict", "folder", "cache"])
def test_a_strangers_verdict_is_not_believed(
    tmp_path: Path, theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    gate = FakeGate()
    judged(cache, gate, Fake())
    (file,) = (cache / "verdicts").iterdir()
    os.chown({"verdict": file, "folder": file.parent, "cache": cache}[theirs], 12345, -1)
    judged(cache, gate, Fake())
    assert len(gate.asked) == 2
    assert "it belongs to user 12345" in caplog.text


def test_verdicts_are_private(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        gate = FakeGate()
        (tmp_path / "cache").mkdir()
        judged(tmp_path / "cache", gate, Fake())
        (file,) = (tmp_path / "cache" / "verdicts").iterdir()
        places = (file, file.parent, file.parent.parent)
        assert [place.stat().st_mode & 0o777 for place in places] == [0o600, 0o700, 0o700]
        file.parent.chmod(0o775)  # of an older version
        judged(tmp_path / "cache", gate, Fake())
        assert len(gate.asked) == 1
        assert file.parent.stat().st_mode & 0o777 == 0o700
        file.chmod(0o664)
        judged(tmp_path / "cache", gate, Fake())
        assert len(gate.asked) == 2
    finally:
        os.umask(before)
