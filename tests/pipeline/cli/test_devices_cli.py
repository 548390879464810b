"""The flags that say what runs where, and what the commands say of it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pytest
import typer
from facestream.engines.devices import cuda_devices
from facestream.pipeline.cli.flags import ALL, NETWORKS, with_devices
from facestream.pipeline.core.config import RuntimeSettings
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.sources import hardware
from typer.testing import CliRunner

from .conftest import Run, mistake

COMMANDS = {
    ("run",): ALL,
    ("identify",): (*NETWORKS, "index"),
    ("embed",): NETWORKS,
    ("gallery", "add"): NETWORKS,
    ("gallery", "import"): NETWORKS,
    ("gallery", "re-embed"): NETWORKS,
}


def command(*flags: Any) -> tuple[typer.Typer, list[dict[str, Any]]]:
    """A program with one command, and what it was given."""
    seen: list[dict[str, Any]] = []
    app = typer.Typer()

    @app.command()
    @with_devices(*flags)
    def work(
        name: Annotated[str, typer.Argument()],
        loud: Annotated[bool, typer.Option("--loud")] = False,
        *,
        devices: dict[str, Any],
    ) -> None:
        """Work."""
        seen.append({"name": name, "loud": loud, "devices": devices})

    return app, seen


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A gallery of one person."""
    path = tmp_path_factory.mktemp("people") / "people.db"
    with Gallery(path) as gallery:
        gallery.add("Collins", pictures / "a_one.png")
    return path


def test_flags_become_settings_and_the_commands_own_stay() -> None:
    app, seen = command(*ALL)
    given = ["x", "--loud", "--device", "cuda", "--strict-device", "--decode", "vaapi"]
    assert CliRunner().invoke(app, given).exit_code == 0
    none = dict.fromkeys((f"runtime.{flag}" for flag in ALL), None)
    asked = {"runtime.device": "cuda", "runtime.strict_device": True, "runtime.decode": "vaapi"}
    assert seen == [{"name": "x", "loud": True, "devices": none | asked}]


def test_what_was_not_given_leaves_the_settings_alone() -> None:
    app, seen = command("strict_device", "index")
    assert CliRunner().invoke(app, ["x"]).exit_code == 0
    assert seen[0]["devices"] == {"runtime.strict_device": None, "runtime.index": None}
    assert CliRunner().invoke(app, ["x", "--decode", "cpu"]).exit_code == 2
    assert CliRunner().invoke(app, ["x", "--index", "tree"]).exit_code == 2


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_has_the_flags_that_make_sense(run: Run, words: tuple[str, ...]) -> None:
    status, text, _ = run(*words, "--help")
    assert status == 0
    for flag in ALL:
        shown = re.search(rf"--{flag.replace('_', '-')}\b", text) is not None
        assert shown == (flag in COMMANDS[words])


def test_each_flag_takes_what_its_setting_takes() -> None:
    for flag, kind in get_type_hints(RuntimeSettings).items():
        for value in get_args(kind) if flag in ALL else ():
            app, seen = command(*ALL)
            result = CliRunner().invoke(app, [f"--{flag}", value, "x"])
            assert result.exit_code == 0
            assert seen[0]["devices"][f"runtime.{flag}"] == value


def test_a_run_says_once_what_runs(run: Run, clip: Path) -> None:
    _, _, error = run("run", clip, "--max-frames", "4", "--device", "cpu", "--strict-device")
    lines = [line for line in error.splitlines() if "networks: " in line]
    assert len(lines) == 1
    assert re.search(r"networks: \w+ on CPU, .*\(asked for\); decode: cpu", lines[0])


def test_embed_and_identify_say_it_too(run: Run, tmp_path: Path, pictures: Path) -> None:
    portrait = pictures / "a_one.png"
    _, _, error = run("embed", portrait, "--out", tmp_path / "faces.npz", "--backend", "openvino")
    assert "networks: openvino on CPU" in error
    _, _, error = run("identify", portrait, "--precision", "float32")
    assert re.search(r"networks: \w+ on \S+, .*float32", error)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--decode", "cuda"], "--decode cuda cannot serve: no CUDA device"),
        (["--decode", "vaapi"], "--decode vaapi cannot serve: no VA-API device"),
        (["--device", "cuda"], "no CUDA device"),
        (["--index", "gpu"], "to search on a GPU"),
    ],
)
def test_what_cannot_serve_here_is_one_line_and_status_2(
    run: Run, clip: Path, people: Path, *, flags: list[str], says: str
) -> None:
    if cuda_devices() or Path("/dev/dri").exists():
        pytest.skip("there is a GPU")
    assert says in mistake(run("run", clip, "--gallery", people, *flags))


def test_strict_does_not_leave_hardware_unused(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a device file, and no driver behind it."""
    if cuda_devices():
        pytest.skip("there is a driver")
    fresh = functools.cache(hardware.capability.__wrapped__)
    monkeypatch.setattr(hardware, "capability", fresh)
    monkeypatch.setattr(hardware, "device_files", lambda kind: [tmp_path] if kind == "cuda" else [])
    line = mistake(run("run", clip, "--max-frames", "4", "--strict-device"))
    assert line.startswith("--strict-device: the CPU would decode: NVDEC: ")
    status, _, error = run("run", clip, "--max-frames", "4")
    assert status == 0
    assert "decode: cpu (NVDEC: libcuda.so.1 cannot be loaded" in error
