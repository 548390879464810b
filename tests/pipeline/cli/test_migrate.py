"""The commands of docs/migrate.md take over galleries of the shapes that other programs write."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import cv2
import pytest
from facestream.pipeline.core.config import default_gallery_path
from facestream.pipeline.core.images import read_image
from facestream.pipeline.gallery import Gallery

from .conftest import ROOT, Run

DOCUMENT = ROOT / "docs" / "migrate.md"
KEY = "00000000-0000-0000-0000-000000000002"


def commands(section: str) -> list[str]:
    """The code blocks under a heading of the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    part = re.split(r"^## ", text, flags=re.M)[1:]
    (body,) = [one for one in part if one.startswith(f"{section}\n")]
    return re.findall(r"^```sh\n(.*?)^```", body, flags=re.M | re.S)


def people() -> dict[str, int]:
    with Gallery(default_gallery_path(), create="never") as gallery:
        return {person.name: person.photos for person in gallery.people()}


@pytest.fixture
def stills(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small portraits by name; the working folder is an empty one."""
    folder = tmp_path / "stills"
    for source in sorted((shared_data / "stills").glob("[!_]*/*")):
        picture = read_image(source)
        scale = 480 / max(picture.shape[:2])
        target = folder / source.parent.name / f"{source.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.resize(picture, None, fx=scale, fy=scale))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def save(source: Path, target: Path) -> None:
    """The picture in the format of the target's suffix."""
    target.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(target), read_image(source))


def test_frigate(run: Run, stills: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    for number, name in enumerate(("obama1", "obama2")):
        source = sorted((stills / "obama").iterdir())[number]
        save(source, media / "clips/faces/Barack Obama" / f"{name}.webp")
    save(stills / "leslie/img1.png", media / "clips/faces/leslie/leslie-1732000000.123.webp")
    unnamed = "1732000000.123-abcdef-1732000001.2-unknown-0.0.webp"
    save(stills / "leslie/img2.png", media / "clips/faces/train" / unnamed)
    (command,) = commands("Frigate")
    assert run(*shlex.split(command.replace("/media/frigate", str(media)))[1:])[0] == 0
    assert people() == {"Barack Obama": 2, "leslie": 1}


def test_double_take(run: Run, stills: Path) -> None:
    for name in ("harington", "leslie"):
        for source in (stills / name).iterdir():
            save(source, Path(".storage/train", name, f"{source.stem}-1650000000.jpg"))
    save(stills / "obama/obama.png", Path(".storage/matches/0b9c.jpg"))
    Path(".storage/database.db").write_bytes(b"SQLite")
    (command,) = commands("Double Take")
    assert run(*shlex.split(command)[1:])[0] == 0
    assert people() == {"harington": 2, "leslie": 2}


@pytest.fixture
def compreface(stills: Path) -> Iterator[str]:
    """A server that answers as CompreFace's API does, in pages of two."""
    faces = [
        {"image_id": f"{number:08d}-aaaa-bbbb-cccc-0123456789ab", "subject": path.parent.name}
        for number, path in enumerate(sorted(stills.glob("*/*")))
    ]
    pictures = sorted(stills.glob("*/*"))

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            base = "/api/v1/recognition/faces"
            known = self.headers["x-api-key"] == KEY and url.path.startswith(base)
            self.send_response(200 if known else 401)
            self.end_headers()
            if not known:
                return
            if url.path == base:
                page = int(parse_qs(url.query)["page"][0])
                answer = {
                    "faces": faces[2 * page : 2 * page + 2],
                    "page_number": page,
                    "page_size": 2,
                    "total_pages": -(-len(faces) // 2),
                    "total_elements": len(faces),
                }
                self.wfile.write(json.dumps(answer).encode())
            else:
                number = int(url.path.removeprefix(f"{base}/").split("-")[0])
                self.wfile.write(pictures[number].read_bytes())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_compreface(run: Run, stills: Path, compreface: str) -> None:
    script, command = commands("CompreFace")
    script = script.replace("http://localhost:8000", compreface)
    script = script.replace("python3 -", f"{shlex.quote(sys.executable)} -")
    subprocess.run(["bash", "-ec", script], check=True)
    assert run(*shlex.split(command)[1:])[0] == 0
    assert people() == {folder.name: len(list(folder.iterdir())) for folder in stills.iterdir()}


def test_deepface(run: Run, stills: Path) -> None:
    for source in (stills / "obama").iterdir():
        save(source, Path("my_db/Barack", f"{source.stem}.jpg"))
    save(stills / "leslie/img1.png", Path("my_db/Leslie.jpg"))
    save(stills / "leslie/img2.png", Path("my_db/Barack/older/img.jpg"))
    for cache in (
        "ds_model_vggface_detector_opencv_aligned_normalization_base_expand_0.pkl",
        "representations_vgg_face.pkl",
    ):
        Path("my_db", cache).write_bytes(b"\x80\x04N.")
    (command,) = commands("DeepFace")
    status, _, error = run(*shlex.split(command)[1:])
    assert status == 0
    assert people() == {"Barack": 2, "Leslie": 1}
    assert "representations_vgg_face.pkl' is not a folder: left out" in error
    assert "the folders inside 'Barack' are left out (1)" in error


def test_face_recognition(run: Run, stills: Path) -> None:
    save(stills / "obama/obama.png", Path("known_people/Barack Obama.jpg"))
    save(stills / "leslie/img1.png", Path("known_people/leslie.png"))
    shutil.copytree(stills / "harington", "knn_examples/train/kit_harington")
    for command in commands("face_recognition"):
        assert run(*shlex.split(command)[1:])[0] == 0
    assert people() == {"Barack Obama": 1, "leslie": 1, "kit_harington": 2}
