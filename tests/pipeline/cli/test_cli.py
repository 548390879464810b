"""The command line as a whole: help, errors, doctor, schema, config."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.pipeline.cli import errors as gate
from facestream.pipeline.cli.app import app
from facestream.pipeline.core.config import Settings, environment_names, load_settings
from facestream.pipeline.core.errors import OutputError, StageFailed
from facestream.pipeline.core.events import json_schema
from typer.testing import CliRunner

from .conftest import ROOT, Run, mistake, start

COMMANDS = (
    "run", "identify", "embed", "gallery", "cameras", "doctor", "schema", "config", "bench"
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    outcome = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "100"})
    assert outcome.exit_code == 0
    assert "Examples" in outcome.output
    assert f"facestream {command}" in outcome.output


def test_help_lists_the_commands_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import conftest\n"
        "from facestream.pipeline.cli import main\n"
        "status = main(['--help'])\n"
        "heavy = {'numpy', 'cv2', 'openvino', 'torch', 'av', 'faiss', 'sqlalchemy', 'pydantic'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    for command in COMMANDS:
        assert f" {command} " in done.stdout
    assert "HEAVY [] 0" in done.stdout


def test_the_main_job_does_not_import_torch(tmp_path: Path, clip: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import conftest\n"
        "from facestream.pipeline.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print('TORCH', [m for m in ('torch', 'torchvision') if m in sys.modules], status)"
    )
    command = [sys.executable, "-c", code, str(ROOT), "run", str(clip), "--max-frames", "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "TORCH [] 0" in done.stdout


def test_without_arguments_the_help_is_shown(run: Run) -> None:
    status, text, error = run()
    assert status == 2
    assert "Commands" in text + error


def test_version(run: Run) -> None:
    status, text, _ = run("--version")
    assert status == 0
    assert text.startswith("facestream ")


def failing(error: BaseException) -> typer.Typer:
    other = typer.Typer()

    @other.command()
    def command() -> None:
        raise error

    return other


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OutputError("cannot write x\nor y"), 2, "facestream: cannot write x or y"),
        (BackendUnavailable("no torch here"), 2, "facestream: no torch here"),
        (InferenceError("out of memory"), 1, "facestream: out of memory"),
        (
            StageFailed("detect", RuntimeError("boom")),
            1,
            "facestream: stage 'detect' failed: RuntimeError: boom",
        ),
    ],
)
def test_errors_become_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    assert gate.guarded(failing(error), []) == status
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_an_interrupt_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.guarded(failing(KeyboardInterrupt()), []) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        gate.guarded(failing(ZeroDivisionError()), [])


def test_debug_shows_the_traceback_of_a_mistake(run: Run) -> None:
    status, _, error = run("--debug", "config", "--config", "nowhere.toml")
    assert status == 2
    assert "Traceback" in error


def test_output_into_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    process = start("config", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    error = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in error
    assert "Exception ignored" not in error


def test_schema_is_printed(run: Run) -> None:
    status, text, _ = run("schema")
    assert status == 0
    assert json.loads(text) == json_schema()


def test_config_prints_what_it_would_use(run: Run, tmp_path: Path) -> None:
    status, text, _ = run("config")
    assert status == 0
    path = tmp_path / "all.toml"
    path.write_text(text, encoding="utf-8")
    assert load_settings(file=path) == Settings()
    path.write_text(text.replace("min_face = 40", "min_face = 44"), encoding="utf-8")
    assert "min_face = 44" in run("config", "--config", path)[1]
    listed = run("config", "--environment")[1]
    assert all(name in listed for name in environment_names())


def test_an_unknown_key_is_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[detector]\nmin_fase = 3\n")
    line = mistake(run("config", "--config", path))
    assert line == (f"unknown key 'detector.min_fase' in {path}; did you mean 'detector.min_face'?")


def test_doctor_proves_that_all_is_well(run: Run) -> None:
    status, text, _ = run("doctor", "--json")
    findings = {(one["area"], one["name"]): one for one in json.loads(text)}
    assert [one for one in findings.values() if one["state"] == "failed"] == []
    assert status == 0
    assert {name for area, name in findings if area == "proof"} == {
        "models",
        "choice",
        "inference",
        "detection",
        "search",
        "video",
    }
    assert findings["backend", "chosen"]["detail"].startswith("openvino")
    assert findings["backend", "kernels"]["detail"].startswith("the detector")
    assert {name for area, name in findings if area == "decoder"} == {"cuda", "vaapi", "chosen"}
    assert ("engines", "cache") in findings
    assert any(area == "device" for area, _ in findings)
    assert "; decode: " in findings["proof", "choice"]["detail"]


def test_doctor_says_what_failed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from facestream.pipeline.observability import self_check as checks

    monkeypatch.setattr(checks, "LEAST_COSINE", 1.5)
    status, text, _ = run("doctor")
    assert status == 1
    assert "disagrees with OpenCV" in text.replace("\n", " ")
    assert "1 of " in text
