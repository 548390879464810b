"""Commands whose standard output lacks characters, is closed or full, and users without a home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import pytest
from facestream.pipeline.cli.run import announce_gallery, chosen_gallery
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.gallery import Gallery

from .conftest import LAUNCH, ROOT

NAME = "Ada Løvlace σ 李 😀"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "people.db"
    with Gallery(path) as gallery:
        assert [one.accepted for one in gallery.add(NAME, portraits()[0].image)] == [True]
    return path


def command(*arguments: object, redirect: str = "", launcher: str = "") -> list[str]:
    """A shell that starts ``facestream`` with its output redirected."""
    words = ("-c", LAUNCH, ROOT, *arguments)
    return ["sh", "-c", f'{launcher} "$0" "$@" {redirect}', sys.executable, *map(str, words)]


def ran(line: list[str], environment: Mapping[str, str | None]) -> subprocess.CompletedProcess[str]:
    merged = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
    return subprocess.run(
        line, env=merged, capture_output=True, encoding="utf-8", errors="replace", timeout=120
    )


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, C_LOCALE]
)
def test_what_an_encoding_lacks_is_escaped(people: Path, environment: dict[str, str]) -> None:
    listed = ran(command("gallery", "list", "-g", people, "--json"), environment)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [person["name"] for person in json.loads(listed.stdout)] == [NAME]
    assert listed.stdout.isascii()
    table = ran(command("gallery", "list", "-g", people), environment)
    assert (table.returncode, table.stderr) == (0, "")
    assert "\\u674e" in table.stdout
    missing = ran(command("identify", "/nowhere/李.jpg", "-g", people), environment)
    assert missing.returncode in (2, 3)
    assert "Traceback" not in missing.stderr
    # In the C locale it is the bytes of the argument that are escaped.
    escaped = "\\udce6\\udc9d\\udc8e.jpg" if environment is C_LOCALE else "\\u674e.jpg"
    assert escaped in missing.stderr


def test_the_settings_are_printed_in_ascii() -> None:
    printed = ran(command("config"), {"PYTHONIOENCODING": "ascii"})
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout.isascii()


@pytest.mark.parametrize("arguments", [["config"], ["--help"], ["gallery", "list"]])
def test_a_full_disk_is_one_line(people: Path, arguments: list[str]) -> None:
    if arguments == ["gallery", "list"]:
        arguments = [*arguments, "-g", str(people)]
    full = ran(command(*arguments, redirect=">/dev/full"), {})
    assert full.returncode == 1
    assert full.stderr == ("facestream: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
def test_closed_and_full_streams(people: Path, redirect: str) -> None:
    listed = ran(command("gallery", "list", "-g", people, redirect=redirect), {})
    assert listed.returncode == (1 if ">/dev/full 2" in redirect else 0)
    assert listed.stderr == ""
    wrong = ran(command("config", "--config", "/nowhere.toml", redirect=redirect), {})
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user"
)
def test_a_user_without_a_home() -> None:
    # Unknown to the system; may read all, for the interpreter can be in a folder of root's.
    become = (
        "exec setpriv --reuid 54321 --regid 54321 --clear-groups "
        "--inh-caps +dac_read_search --ambient-caps +dac_read_search"
    )
    homeless: dict[str, str | None] = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"))
    homeless["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, 54321, 54321)
        (folder / "ada.png").write_bytes(cv2.imencode(".png", portraits()[0].image)[1].tobytes())
        (folder / "ada.png").chmod(0o644)
        arguments = ("gallery", "add", "Ada", folder / "ada.png", "-g", folder / "people.db")
        added = ran(command(*arguments, launcher=become), homeless)
    assert added.returncode == 0, added.stderr
    assert "compiled networks are not kept" in added.stderr
    default = ran(command("gallery", "list", launcher=become), homeless)
    assert default.returncode == 2
    assert default.stderr.splitlines()[-1] == (
        "facestream: this user has no home folder for a gallery: give --gallery PEOPLE.db, "
        "or set HOME"
    )


def test_without_a_home_there_is_no_default_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("facestream.pipeline.core.config.folders.user_data_path", homeless)
    assert chosen_gallery(None) is None, "a run goes on without one"
    assert chosen_gallery(Path("people.db")) == Path("people.db")


def test_a_run_without_a_home_ends_with_its_table(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("facestream.pipeline.core.config.folders.user_data_path", homeless)
    with caplog.at_level("INFO", "facestream"):
        announce_gallery(None, None)
    assert caplog.messages[0].startswith("nobody is known: this user has no home folder")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_a_run_with_names_that_the_file_system_lacks(tmp_path: Path) -> None:
    photo = cv2.imencode(".png", portraits()[0].image)[1].tobytes()
    (tmp_path / "né.png").write_bytes(photo)
    with Gallery(tmp_path / "people.db") as gallery:
        gallery.add(NAME, portraits()[0].image)
    arguments = ("run", tmp_path / "né.png", "-g", tmp_path / "people.db", "-o", tmp_path / "out")
    outcome = ran(command(*arguments), C_LOCALE)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "out" / "annotated.mp4").is_file()
    left = json.loads((tmp_path / "out" / "events.jsonl").read_bytes().splitlines()[-1])
    assert (left["source"], left["name"]) == (str(tmp_path / "né.png"), NAME)
    assert (tmp_path / "out" / left["picture"]).is_file()


def test_the_home_of_nobody() -> None:
    with pytest.raises(
        GalleryError, match=r"^cannot open ~no-such-user/people\.db: its user has no"
    ):
        Gallery("~no-such-user/people.db")
