"""``facestream engines`` with real plans of TensorRT-RTX, built without a GPU."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from facestream.engines.base import Engine
from facestream.engines.devices import CudaDevice, DriverReport
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.engines.tensorrt.plans import MANIFEST, PlanStore
from facestream.engines.tensorrt.variant import find_variant
from facestream.pipeline.cli import main

from .conftest import Run, mistake

NETWORKS = ["mtcnn_onet", "mtcnn_pnet", "mtcnn_rnet", "vae_decoder", "vae_encoder"]
SMALL = ("mtcnn_pnet", "mtcnn_rnet")

needs_rtx = pytest.mark.tensorrt


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on a machine with a GPU."""
    monkeypatch.setattr(
        "facestream.engines.tensorrt.inventory.driver_report",
        lambda: DriverReport(problem="no NVIDIA driver"),
    )


@pytest.fixture(scope="session")
def _rtx() -> None:
    try:
        find_variant("tensorrt_rtx")
    except BackendUnavailable as error:
        if os.environ.get("REQUIRE_GPU") == "1":
            pytest.fail(f"REQUIRE_GPU=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def built(_rtx: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plans of all five networks for SM86; not to be changed."""
    folder = tmp_path_factory.mktemp("engines")
    assert main(["engines", "build", "--target", "sm86", "--cache", str(folder)]) == 0
    return folder


@pytest.fixture
def cache(built: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return shutil.copytree(built, tmp_path / "engines")


def listed(run: Run, cache: Path) -> list[dict[str, Any]]:
    status, out, _ = run("engines", "list", "--cache", cache, "--json")
    assert status == 0
    plans: list[dict[str, Any]] = json.loads(out)["plans"]
    return plans


@needs_rtx
def test_build_makes_five_plans_and_keeps_them(run: Run, built: Path) -> None:
    plans = listed(run, built)
    assert [plan["network"] for plan in plans] == NETWORKS
    precisions = {plan["network"]: plan["parts"]["precision"] for plan in plans}
    assert {precisions[name] for name in NETWORKS[:3]} == {"float32"}
    assert {precisions[name] for name in NETWORKS[3:]} == {"float16"}
    assert {plan["unused"] for plan in plans} == {""}
    times = [Path(plan["path"]).stat().st_mtime_ns for plan in plans]
    status, out, _ = run("engines", "build", "--target", "sm86", "--cache", built)
    assert status == 0
    assert out.startswith("0 plans built in ")
    assert "5 there already" in out
    assert [Path(plan["path"]).stat().st_mtime_ns for plan in plans] == times


@needs_rtx
def test_build_for_several_targets_in_one_precision(run: Run, cache: Path) -> None:
    targets = ("--target", "sm86", "--target", "sm120", "--target", "sm120")
    status, out, err = run(
        "engines", "build", *SMALL, *targets, "--precision", "float16", "--cache", cache
    )
    assert status == 0
    assert out.startswith("4 plans built")
    assert err.count("building the plan of") == 4
    made = {
        (p["network"], p["parts"]["target"], p["parts"]["precision"]) for p in listed(run, cache)
    }
    assert {(name, sm, "float16") for name in SMALL for sm in ("sm86", "sm120")} < made


@needs_rtx
def test_list_and_show_tell_all(run: Run, built: Path) -> None:
    status, out, _ = run("engines", "list", "--cache", built)
    assert status == 0
    assert all(name in out for name in NETWORKS)
    assert "1–64" in out
    status, out, _ = run("engines", "show", "vae_encoder", "--cache", built)
    assert status == 0
    for words in ("N×112×112×3", "uint8", "logvar", "8×112×112×3", "32×112×112×3", "tensorrt_rtx"):
        assert words in out
    key = next(plan["key"] for plan in listed(run, built) if plan["network"] == "mtcnn_pnet")
    status, out, _ = run("engines", "show", key[:8], "--cache", built, "--json")
    assert status == 0
    (plan,) = json.loads(out)
    assert plan["key"] == key
    assert plan["profiles"][0]["least"] == [1, 3, 12, 12]


def test_an_empty_folder_says_how_to_fill_it(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("engines", "list", "--cache", tmp_path / "none")
    assert status == 0
    assert "'facestream engines build' makes them" in out
    assert run("engines", "verify", "--checksums", "--cache", tmp_path / "none")[0] == 0
    assert run("engines", "clean", "--yes", "--cache", tmp_path / "none")[0] == 0
    assert not (tmp_path / "none").exists()


@needs_rtx
def test_verify_executes_what_runs_here_and_says_that_plans_were_not(
    run: Run, built: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('[runtime]\nbackend = "openvino"\n')
    status, out, _ = run("engines", "verify", "--cache", built, "--config", settings)
    assert status == 0
    assert out.count("not executed: no GPU here (no NVIDIA driver)") == 5
    assert "5 plans: 0 executed, 0 damaged or refused" in out
    # In float32, and in bfloat16 where the CPU has it.
    cosines = [float(figure) for figure in re.findall(r"cosine_min ([\d.]+)", out)]
    assert len(cosines) >= 2  # encoder and decoder
    assert min(cosines) >= 0.999
    assert "sigma_rank" in out
    assert "iou_median" in out


@needs_rtx
def test_verify_of_one_plan_runs_nothing_else(run: Run, built: Path) -> None:
    status, out, _ = run("engines", "verify", "vae_encoder", "--cache", built, "--json")
    assert status == 0
    content = json.loads(out)
    (plan,) = content["plans"]
    assert (plan["state"], plan["figures"], content["engines"]) == ("ok", {}, [])
    assert "not executed" in plan["detail"]


@needs_rtx
def test_verify_finds_damage_and_build_repairs_it(run: Run, cache: Path) -> None:
    plans = {plan["network"]: Path(plan["path"]) for plan in listed(run, cache)}
    content = bytearray(plans["mtcnn_rnet"].read_bytes())
    content[len(content) // 2] ^= 1
    plans["mtcnn_rnet"].write_bytes(content)
    plans["mtcnn_pnet"].with_suffix(MANIFEST).write_text("{")
    status, out, _ = run("engines", "verify", "--checksums", "--cache", cache, "--json")
    assert status == 1
    states = [(plan["network"], plan["state"]) for plan in json.loads(out)["plans"]]
    assert ("mtcnn_rnet", "damaged") in states
    assert ("", "damaged") in states
    assert run("engines", "verify", "mtcnn_onet", "--cache", cache)[0] == 0
    status, out, _ = run("engines", "build", "--target", "sm86", "--cache", cache)
    assert out.startswith("2 plans built")
    assert run("engines", "verify", "--checksums", "--cache", cache)[0] == 0


@needs_rtx
def test_clean_removes_what_it_is_told(run: Run, cache: Path) -> None:
    line = mistake(run("engines", "clean", "--cache", cache))
    assert "no terminal; give --yes" in line
    status, out, _ = run("engines", "clean", "mtcnn_pnet", "--yes", "--cache", cache)
    assert status == 0
    assert out.startswith("Removed 1 plan (")
    assert len(listed(run, cache)) == 4
    run("engines", "clean", "--older", "1", "--yes", "--cache", cache)
    assert len(listed(run, cache)) == 4
    backdate(cache, "vae_decoder", days=40)
    run("engines", "clean", "--older", "30", "--yes", "--cache", cache)
    assert [plan["network"] for plan in listed(run, cache)] == [
        "mtcnn_onet",
        "mtcnn_rnet",
        "vae_encoder",
    ]
    run("engines", "clean", "--yes", "--cache", cache)
    assert [path.name for path in cache.iterdir()] == ["plans.lock"]


@needs_rtx
def test_clean_unused_keeps_what_the_pipeline_asks_for(
    run: Run, cache: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[encoder]\nmax_batch = 16\n")
    run(
        "engines",
        "build",
        "vae_encoder",
        "--target",
        "sm86",
        "--cache",
        cache,
        "--config",
        settings,
    )
    uses = [plan["unused"] for plan in listed(run, cache) if plan["network"] == "vae_encoder"]
    assert sorted(uses) == ["", "of other shapes or settings"]
    _, out, _ = run("engines", "clean", "--unused", "--yes", "--cache", cache)
    assert out.startswith("Removed 1 plan (")
    assert [plan["unused"] for plan in listed(run, cache)] == [""] * 5


@needs_rtx
def test_half_files_of_a_crash_are_cleaned(run: Run, cache: Path) -> None:
    part = cache / ".part-abc"
    part.write_bytes(b"x" * 2**20)
    os.utime(part, (time.time() - 7200,) * 2)
    status, out, _ = run("engines", "clean", "--unused", "--yes", "--cache", cache)
    assert status == 0
    assert "1.0 MiB of remains" in out
    assert not part.exists()
    assert len(listed(run, cache)) == 5


@needs_rtx
@pytest.mark.usefixtures("_rtx")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "vae_encoderr"), "no network 'vae_encoderr'; there are mtcnn_pnet"),
        (("build", "--target", "86"), "no GPU architecture '86'; write it as sm86"),
        (("build", "--target", "sm90"), "builds nothing for sm90, only for sm75"),
        (("build",), "no GPU to build for (no NVIDIA driver); name an architecture"),
        (("build", "--precision", "int8"), "'int8' is not one of"),
        (("show", "vae_encoder"), "no plan 'vae_encoder' in"),
        (("clean", "abcdef12", "--yes"), "no plan 'abcdef12' in"),
        (("verify", "mtcnn_pnet"), "no plan 'mtcnn_pnet' in"),
        (("clean", "--older", "-1"), "greater than or equal to 0"),
    ],
)
def test_mistakes_are_told_in_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in mistake(run("engines", *arguments, "--cache", tmp_path / "engines"))


def test_a_file_in_place_of_the_folder_is_a_mistake(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not a folder" in mistake(run("engines", "list", "--cache", tmp_path / "file"))


def test_without_tensorrt_build_says_how_to_get_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(wanted: str = "auto") -> None:
        raise BackendUnavailable("tensorrt is not installed: pip install tensorrt")

    monkeypatch.setattr("facestream.engines.tensorrt.inventory.find_variant", missing)
    line = mistake(run("engines", "build", "--target", "sm86", "--cache", tmp_path))
    assert "pip install tensorrt" in line


@needs_rtx
def test_plans_of_a_version_that_is_not_here_are_unused(run: Run, cache: Path) -> None:
    rewrite(cache, "mtcnn_onet", version="0.9.0")
    reasons = {plan["network"]: plan["unused"] for plan in listed(run, cache)}
    version = find_variant("tensorrt_rtx").version
    assert reasons["mtcnn_onet"] == f"of another version; {version} is here"
    assert reasons["mtcnn_rnet"] == ""


@pytest.mark.parametrize("command", ["", "build", "list", "show", "clean", "verify"])
def test_help_has_examples(run: Run, command: str) -> None:
    status, out, _ = run("engines", *filter(None, [command]), "--help")
    assert status == 0
    assert "Examples" in out
    assert f"facestream engines {command}".strip() in out


def backdate(cache: Path, network: str, *, days: int) -> None:
    (file,) = cache.glob(f"{network}-*{MANIFEST}")
    content = json.loads(file.read_text())
    content["created"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    file.write_text(json.dumps(content))


def rewrite(cache: Path, network: str, *, version: str) -> None:
    """The plan as another version would have built it."""
    from facestream.engines.tensorrt.recipe import key_of

    (stored,) = [one for one in PlanStore(cache).list()[0] if one.manifest.network == network]
    parts = {**stored.manifest.parts, "version": version}
    manifest = stored.manifest.model_copy(update={"parts": parts, "key": key_of(parts)})
    path = cache / f"{network}-sm86-float32-{manifest.key}.plan"
    stored.path.rename(path)
    stored.path.with_suffix(MANIFEST).unlink()
    path.with_suffix(MANIFEST).write_text(manifest.model_dump_json(by_alias=True))


@needs_rtx
def test_verify_of_a_plan_that_can_run_goes_through_its_gate(
    run: Run, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU is played: OpenVINO runs in the plan's place, then nothing does."""
    device = CudaDevice(0, "NVIDIA RTX A2000", (8, 6), 12 << 30)
    inventory = "facestream.engines.tensorrt.inventory"
    monkeypatch.setattr(f"{inventory}.driver_report", lambda: DriverReport((device,), (13, 0)))
    asked: list[tuple[str, str, Path]] = []

    def load(path: Path, *, backend: str, options: EngineOptions, cache: Path) -> Engine:
        asked.append((backend, options.precision, cache))
        there = replace(options, precision="float32", device="cpu")
        return load_engine(path, backend="openvino", options=there)

    monkeypatch.setattr(f"{inventory}.load_engine", load)
    status, out, _ = run("engines", "verify", "vae_encoder", "--cache", built)
    assert status == 0
    assert "checksum right, executed" in out
    assert "1 plan: 1 executed, 0 damaged or refused" in out
    assert asked == [("tensorrt", "float16", built)]

    def fail(*_: object, **__: object) -> Engine:
        raise InferenceError("no memory for it")

    monkeypatch.setattr(f"{inventory}.load_engine", fail)
    status, out, _ = run("engines", "verify", "mtcnn_rnet", "--cache", built)
    assert status == 1
    assert "no memory for it" in out
    assert "1 plan: 0 executed, 1 damaged or refused" in out
