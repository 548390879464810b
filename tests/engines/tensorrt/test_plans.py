"""The store: real files, real processes, real damage."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from facestream.engines.cards import checksum
from facestream.engines.errors import BackendUnavailable, BuildFailed, ModelError
from facestream.engines.files import PART, write_atomically
from facestream.engines.tensorrt.build import (
    BuiltPlan,
    Manifest,
    ProfileFacts,
    TensorFacts,
    sha256_of_bytes,
)
from facestream.engines.tensorrt.plans import MANIFEST, PlanStore, StoredPlan
from facestream.engines.tensorrt.recipe import Recipe
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]


def made_plan(path: Path, recipe: Recipe, data: bytes = b"a plan") -> BuiltPlan:
    """A plan without TensorRT: what the store does is the same for any bytes."""
    onnx_sum = checksum(path)
    return BuiltPlan(
        data,
        Manifest(
            key=recipe.key(onnx_sum),
            network=path.stem,
            parts=recipe.parts(onnx_sum),
            tensors=(TensorFacts(name="x", mode="input", shape=(None, 3), dtype="float32"),),
            profiles=(ProfileFacts(least=(1, 3), usual=(2, 3), most=(4, 3)),),
            sha256=sha256_of_bytes(data),
            size=len(data),
            build_seconds=0.1,
            created="2026-11-22T12:00:00+00:00",
        ),
    )


class Builder:
    """Builds such plans and counts them."""

    def __init__(self, data: bytes = b"a plan") -> None:
        self.data = data
        self.built = 0

    def __call__(self, path: Path, recipe: Recipe, **rest: Any) -> BuiltPlan:
        self.built += 1
        return made_plan(path, recipe, self.data)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "engines")


def test_a_plan_is_built_once_and_found_again(store: PlanStore, rnet: Path, recipe: Recipe) -> None:
    build = Builder()
    first = store.plan_for(rnet, recipe, build=build)
    again = PlanStore(store.folder).plan_for(rnet, recipe, build=build)
    assert build.built == 1
    assert again == first
    assert again.read() == b"a plan"
    assert first.path.name == f"mtcnn_rnet-sm86-float16-{first.manifest.key}.plan"
    assert json.loads(first.path.with_suffix(MANIFEST).read_text())["size"] == 6
    assert store.list() == ([first], [])
    assert store.folder.stat().st_mode & 0o077 == 0  # a plan is code: nobody else's folder


def test_what_is_in_the_store_is_for_its_owner(
    store: PlanStore, rnet: Path, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan is executed: what others may write is not used."""
    store.folder.mkdir()
    store.folder.chmod(0o777)  # an older folder, or one that was made by hand
    build = Builder()
    stored = store.plan_for(rnet, recipe, build=build)
    assert "others could change it (mode 0777)" in caplog.text
    places = [store.folder, stored.path, stored.path.with_suffix(MANIFEST)]
    places.append(store.folder / "plans.lock")
    assert [place.stat().st_mode & 0o777 for place in places] == [0o700, 0o600, 0o600, 0o600]
    for path in (stored.path, stored.path.with_suffix(MANIFEST)):
        path.chmod(0o666)
        assert store.find(stored.manifest.key) is None
        assert "others may write it (mode 0666)" in caplog.text
        assert store.plan_for(rnet, recipe, build=build).read() == b"a plan"
    assert build.built == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_strangers_plan_is_not_executed(
    store: PlanStore, rnet: Path, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    build = Builder()
    stored = store.plan_for(rnet, recipe, build=build)
    os.chown(stored.path, 12345, -1)
    with pytest.raises(ModelError, match="it belongs to user 12345"):
        stored.read()
    assert store.plan_for(rnet, recipe, build=build).read() == b"a plan"
    assert build.built == 2
    store.folder.chmod(0o777)
    os.chown(store.folder, 12345, -1)
    assert store.find(stored.manifest.key) is None
    assert store.list() == (
        [],
        [f"the plans in {store.folder} are not used: it belongs to user 12345"],
    )
    with pytest.raises(
        BackendUnavailable, match=r"belongs to user 12345; set runtime.engine_cache"
    ):
        store.plan_for(rnet, recipe, build=build)
    assert build.built == 2
    assert "it belongs to user 12345" in caplog.text


def test_another_recipe_or_network_is_another_plan(
    store: PlanStore, rnet: Path, recipe: Recipe, tmp_path: Path
) -> None:
    build = Builder()
    changed = tmp_path / rnet.name
    changed.write_bytes(rnet.read_bytes() + b"\x00")
    jobs = [
        (rnet, recipe),
        (changed, recipe),
        (rnet, replace(recipe, precision="float32")),
        (rnet, replace(recipe, target="sm120")),
        (rnet, replace(recipe, variant="tensorrt")),
        (rnet, replace(recipe, version="1.2.4")),
        (rnet, replace(recipe, gpu="NVIDIA RTX A2000")),
        (rnet, replace(recipe, image_input=None)),
        (rnet, replace(recipe, shapes=replace(recipe.shapes, batches=(1, 64)))),
    ]
    paths = {store.plan_for(path, one, build=build).path for path, one in jobs}
    assert build.built == len(paths) == len(jobs)
    for path, one in jobs:
        store.plan_for(path, one, build=build)
    assert build.built == len(jobs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), data=st.data())
def test_any_flipped_bit_is_noticed(
    tmp_path: Path, rnet: Path, recipe: Recipe, place: int, bit: int, data: st.DataObject
) -> None:
    store = PlanStore(tmp_path / "flips")
    build = Builder(bytes(range(256)) * 8)
    stored = store.plan_for(rnet, recipe, build=build)
    target = data.draw(st.sampled_from([stored.path, stored.path.with_suffix(MANIFEST)]))
    content = bytearray(target.read_bytes())
    content[place % len(content)] ^= 1 << bit
    target.write_bytes(content)
    before = build.built
    again = store.plan_for(rnet, recipe, build=build)
    assert again.read() == build.data
    if target == stored.path:
        assert build.built == before + 1
    # A bit of the manifest may change what is only told (a date), never what is loaded.
    assert again.manifest.key == stored.manifest.key
    assert again.manifest.parts == stored.manifest.parts


@pytest.mark.parametrize("rest", [0, 1, 5])
def test_a_truncated_plan_is_built_again(
    store: PlanStore, rnet: Path, recipe: Recipe, rest: int, caplog: pytest.LogCaptureFixture
) -> None:
    build = Builder()
    stored = store.plan_for(rnet, recipe, build=build)
    stored.path.write_bytes(b"a plan"[:rest])
    with pytest.raises(ModelError, match="its manifest says 6"):
        stored.read()
    with caplog.at_level(logging.WARNING):
        assert store.plan_for(rnet, recipe, build=build).read() == b"a plan"
    assert build.built == 2
    assert [record.message.endswith("it will be built again") for record in caplog.records] == [
        True
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 2}'])
def test_a_damaged_manifest_is_built_again(
    store: PlanStore, rnet: Path, recipe: Recipe, content: bytes
) -> None:
    build = Builder()
    stored = store.plan_for(rnet, recipe, build=build)
    stored.path.with_suffix(MANIFEST).write_bytes(content)
    plans, faults = store.list()
    assert plans == []
    assert len(faults) == 1
    assert "bad manifest" in faults[0]
    assert store.plan_for(rnet, recipe, build=build) == stored
    assert build.built == 2


def test_a_foreign_plan_is_refused(store: PlanStore, rnet: Path, recipe: Recipe) -> None:
    """Another architecture's plan under the name of ours, with its own manifest or with ours."""
    build = Builder()
    ours = store.plan_for(rnet, recipe, build=build)
    theirs = store.plan_for(rnet, replace(recipe, target="sm120"), build=Builder(b"for sm120"))
    ours.path.write_bytes(theirs.path.read_bytes())
    assert store.find(ours.manifest.key) is None
    ours.path.with_suffix(MANIFEST).write_bytes(theirs.path.with_suffix(MANIFEST).read_bytes())
    assert store.find(ours.manifest.key) is None
    assert "is of another plan" in store.list()[1][0]
    assert store.plan_for(rnet, recipe, build=build).read() == b"a plan"


def test_a_manifest_that_was_edited_is_refused(
    store: PlanStore, rnet: Path, recipe: Recipe
) -> None:
    stored = store.plan_for(rnet, recipe, build=Builder())
    file = stored.path.with_suffix(MANIFEST)
    content = json.loads(file.read_text())
    content["parts"]["version"] = "9.9"
    file.write_text(json.dumps(content))
    assert store.find(stored.manifest.key) is None


def test_a_plan_without_a_manifest_is_none_and_is_swept(
    store: PlanStore, rnet: Path, recipe: Recipe
) -> None:
    stored = store.plan_for(rnet, recipe, build=Builder())
    kernels = stored.path.with_suffix(".kernels")
    kernels.write_bytes(b"compiled")
    assert store.sweep() == 0
    stored.path.with_suffix(MANIFEST).unlink()
    other = store.folder / "verdicts.json"
    other.write_text("{}")
    assert store.find(stored.manifest.key) is None
    assert store.sweep() == len(b"a plan") + len(b"compiled")
    assert {path.name for path in store.folder.iterdir()} == {"plans.lock", "verdicts.json"}


def test_discard_forgets_one_plan(store: PlanStore, rnet: Path, recipe: Recipe) -> None:
    one = store.plan_for(rnet, recipe, build=Builder())
    other = store.plan_for(rnet, replace(recipe, target="sm120"), build=Builder())
    store.discard(one.manifest.key)
    assert store.list() == ([other], [])
    store.discard(one.manifest.key)
    PlanStore(store.folder / "none").discard(one.manifest.key)
    assert not (store.folder / "none").exists()


def test_a_failed_build_leaves_nothing(store: PlanStore, rnet: Path, recipe: Recipe) -> None:
    def failing(path: Path, recipe: Recipe, **rest: Any) -> BuiltPlan:
        raise BuildFailed("no kernel fits")

    with pytest.raises(BuildFailed, match="no kernel fits"):
        store.plan_for(rnet, recipe, build=failing)
    assert [path.name for path in store.folder.iterdir()] == ["plans.lock"]
    assert store.plan_for(rnet, recipe, build=Builder()).read() == b"a plan"


def test_a_folder_that_cannot_be_written_says_so(
    tmp_path: Path, rnet: Path, recipe: Recipe
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BackendUnavailable, match=r"plans cannot be kept in .*engine_cache"):
        PlanStore(tmp_path / "file" / "engines").plan_for(rnet, recipe, build=Builder())
    with pytest.raises(ModelError, match="no model file"):
        PlanStore(tmp_path / "engines").plan_for(tmp_path / "none.onnx", recipe, build=Builder())


def test_a_full_disk_leaves_the_old_plan(
    store: PlanStore, rnet: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store.plan_for(rnet, recipe, build=Builder())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BackendUnavailable, match="No space left"):
        store.plan_for(rnet, replace(recipe, target="sm120"), build=Builder(b"a longer plan"))
    assert store.find(stored.manifest.key) == stored
    assert not list(store.folder.glob(f"{PART}*"))


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_threads_that_ask_at_once_share_one_build(
    store: PlanStore, rnet: Path, recipe: Recipe
) -> None:
    build = Builder()
    found: list[StoredPlan] = []
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        found.append(store.plan_for(rnet, recipe, build=build))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.built == 1
    assert len(found) == 6
    assert len({stored.path for stored in found}) == 1


def test_a_wait_can_be_ended(store: PlanStore, rnet: Path, recipe: Recipe) -> None:
    asked: list[str] = []

    def ask(phase: str, share: float) -> bool:
        asked.append(phase)
        return len(asked) < 2

    store.sweep()
    store.folder.mkdir()
    with FileLock(store.folder / "plans.lock"), pytest.raises(BuildFailed, match="wait for"):
        store.plan_for(rnet, recipe, build=Builder(), progress=ask)
    assert asked == ["waiting for another process"] * 2
    assert store.plan_for(rnet, recipe, build=Builder(), progress=ask).read() == b"a plan"


# A builder in a process of its own: the real one where RECIPE is real. BUILD, an expression of
# the built plan, runs inside the lock, before the plan is kept.
PROCESS = """
import conftest, logging, os, sys, time
from dataclasses import replace
from pathlib import Path
from facestream.engines.options import EngineOptions, ShapeRange
from facestream.engines import files
from facestream.engines.tensorrt.build import build_plan
from facestream.engines.tensorrt.variant import find_variant
from facestream.engines.tensorrt.plans import PlanStore
from facestream.engines.tensorrt.recipe import recipe_for

folder, network, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

def say(word):
    print(word, flush=True)

def wait():
    say("paused")
    sys.stdin.readline()

def build(path, recipe, **rest):
    say("building")
    if how == "pause before":
        wait()
    plan = build_plan(path, recipe, **rest)
    say("built")
    if how == "pause while writing":
        os.fsync = lambda handle: wait()
    return plan

shapes = ShapeRange((1, 3, 24, 24), (8, 3, 24, 24), (64, 3, 24, 24), (1, 8, 64))
recipe = recipe_for(
    network,
    EngineOptions(precision="float16", shapes=shapes),
    variant=find_variant("tensorrt_rtx"),
    target="sm86",
)
stored = PlanStore(folder).plan_for(network, recipe, build=build)
say(f"plan {stored.path} {stored.manifest.sha256}")
"""

Launch = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def launch(store: PlanStore, rnet: Path) -> Iterator[Launch]:
    """Starts builders on the same store; those that are left are killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(how: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(store.folder), str(rnet), how],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], word: str) -> list[str]:
    """The lines up to the first that begins with this word."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith(word):
            return lines
    raise AssertionError(f"{word!r} never came, only {lines}")


@pytest.mark.tensorrt
@pytest.mark.usefixtures("rtx")
def test_the_second_process_takes_what_the_first_builds(store: PlanStore, launch: Launch) -> None:
    first = launch("pause before")
    read_until(first, "paused")
    second = launch("at once")
    read_until(second, "waiting for another process")
    assert first.stdin is not None
    print(file=first.stdin, flush=True)
    one, other = read_until(first, "plan "), read_until(second, "plan ")
    assert "built" in one
    assert "building" not in other
    assert one[-1] == other[-1]
    assert first.wait() == second.wait() == 0
    assert len(store.list()[0]) == 1


@pytest.mark.tensorrt
@pytest.mark.parametrize("how", ["pause before", "pause while writing"])
def test_a_killed_builder_leaves_nothing_in_the_way(
    store: PlanStore, launch: Launch, rnet: Path, real_recipe: Recipe, how: str
) -> None:
    killed = launch(how)
    read_until(killed, "paused")
    waiting = launch("at once")
    read_until(waiting, "waiting for another process")
    parts = list(store.folder.glob(f"{PART}*"))
    assert len(parts) == (how == "pause while writing")
    assert store.list() == ([], [])
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    lines = read_until(waiting, "plan ")
    assert "built" in lines
    assert waiting.wait() == 0
    # This process finds it without building, and the half file goes with the next sweep.
    build = Builder()
    stored = store.plan_for(rnet, real_recipe, build=build)
    assert build.built == 0
    assert lines[-1] == f"plan {stored.path} {stored.manifest.sha256}"
    for part in parts:
        assert part.exists()
        os.utime(part, (time.time() - 3600,) * 2)
    assert (store.sweep() > 0) == bool(parts)
    assert not list(store.folder.glob(f"{PART}*"))


@pytest.mark.tensorrt
def test_a_real_plan_of_another_version_is_built_again(
    store: PlanStore, rnet: Path, real_recipe: Recipe
) -> None:
    """A new version asks for another key; the old plan stays until it is cleaned."""
    older = replace(real_recipe, version="1.0.0.0")
    store.plan_for(rnet, older, build=Builder(b"of an older version"))
    stored = store.plan_for(rnet, real_recipe)
    assert stored.read()[:4] == b"vtrt"
    assert len(store.list()[0]) == 2
    # What was written says the version that wrote it.
    assert stored.manifest.parts["version"] == real_recipe.version


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    before = path.stat().st_mtime_ns
    yield
    assert path.stat().st_mtime_ns == before


@pytest.mark.tensorrt
def test_a_real_plan_is_kept_damaged_and_built_again(
    store: PlanStore, rnet: Path, real_recipe: Recipe
) -> None:
    stored = store.plan_for(rnet, real_recipe)
    with unchanged(stored.path):
        store.plan_for(rnet, real_recipe)
    whole = stored.read()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x10
    stored.path.write_bytes(damaged)
    with pytest.raises(ModelError, match="its checksum is another"):
        stored.read()
    again = store.plan_for(rnet, real_recipe)
    assert again.path == stored.path
    assert sha256_of_bytes(again.read()) == again.manifest.sha256
