"""What is fuzzed: seeds of each kind of file, and what the product does with such a file."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.engines.cards import MODELS, read_card
from facestream.pipeline.core.config import load_settings, to_toml
from facestream.pipeline.core.images import read_photo
from facestream.pipeline.core.redact import shown_source
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.recognition.cohort import load_cohort
from facestream.pipeline.sources import SourceOptions, expand_sources, open_source
from facestream.pipeline.sources.http_login import split_login
from facestream.pipeline.sources.mjpeg import CodedPicture, JpegSplitter, _Decoder
from PIL import Image as Pillow

from tests.media import make_clip

FRAMES: Final = 12
_PICTURES: Final = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "JPEG2000")
_TEXT: Final = (
    b"[", b"]", b"{", b"}", b'"', b'"""', b"'", b"\n", b"\0", b"\xff", b"\xed\xa0\x80", b"1e999",
    b"-1", b"NaN", b"99999999999999999999", b"null", b"[" * 3000, b"..", b"${", b"=", b"\\u0000",
)  # fmt: skip
_BOXES: Final = (b"moov", b"trak", b"stsz", b"stco", b"ispe", b"iloc", b"iref", b"grid", b"elst")
_CHUNKS: Final = (b"IDAT", b"iCCP", b"zTXt", b"eXIf", b"fcTL", b"VP8X", b"ANMF", b"EXIF", b"ICCP")
_MARKS: Final = (b"\xff\xc0", b"\xff\xc2", b"\xff\xda", b"\xff\xd8\xff", b"\xff\xe1", b"Exif\0\0")
_URLS: Final = (
    b"rtsp://", b"@", b":", b"//", b"?", b"#", b"%", b"%00", b"[::1]", b"]", b"/", b"..", b"*",
    b"\0", b" ", b"\n", b"\xff", b"token=", b"file:", b"-", b"99999", "\u0131".encode(),
)  # fmt: skip


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        seeds: makes valid files.
        run: reads one as the product does; raises its errors.
        suffix: of the file's name.
        tokens: see ``mutated``.
    """

    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[Path], object]
    suffix: str
    tokens: Sequence[bytes] = ()


# --- seeds ----------------------------------------------------------------------------------


def _clips(suffix: str, *codecs: str) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        clips = (
            make_clip(Path(folder, f"{codec}{suffix}"), codec=codec, frames=8, size=(64, 48))
            for codec in codecs
        )
        return [clip.read_bytes() for clip in clips]


def _picture() -> Pillow.Image:
    shades = np.add.outer(np.arange(40), 2 * np.arange(48)).astype(np.uint8)
    return Pillow.fromarray(np.dstack([shades, shades[::-1], shades[:, ::-1]]))


def _pictures(*kinds: str) -> list[bytes]:
    exif = Pillow.Exif()
    exif[0x0112], exif.get_ifd(0x8769)[0x9003] = 6, "2024:05:06 07:08:09"
    found = []
    for kind in kinds:
        options: list[dict[str, Any]] = [{}]
        if kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            options.append({"exif": exif.tobytes()})
        if kind == "JPEG":
            options.append({"progressive": True})
        if kind == "TIFF":
            options.append({"compression": "tiff_lzw"})
        if kind in ("PNG", "GIF", "WEBP"):
            options.append({"save_all": True, "append_images": [_picture()] * 2})
        for option in options:
            buffer = io.BytesIO()
            _picture().save(buffer, kind, **option)
            found.append(buffer.getvalue())
    return found


def _extra_pictures() -> list[bytes]:
    """HEIC and JPEG XL, as far as the extra is installed."""
    found = []
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        found += _pictures("HEIF")
    with suppress(ImportError):
        import pylibjxl

        found.append(pylibjxl.encode(np.asarray(_picture())))
    return found or _pictures("AVIF")


def _mjpeg() -> list[bytes]:
    parts = (
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(p), p)
        for p in _pictures("JPEG")
    )
    return [b"".join(parts)]


def _toml() -> list[bytes]:
    cameras = """
[cameras.door]
url = "rtsp://admin:${DOOR}@10.0.0.5:554/stream1?channel=1"
detector.min_face = 60
[cameras.hall]
device = 0
"""
    return [to_toml(load_settings()).encode(), cameras.encode(), b"[live]\nsnapshot_every = '5m'\n"]


def _addresses() -> list[bytes]:
    return [
        b"rtsp://admin:hunter2@10.0.0.5:554/Streaming/Channels/101?u=a&p=b#1",
        b"https://user:p%40ss@[fe80::1]:8443/snap.cgi?token=abc&channel=1",
        b"rtmp://example.org/live/key", b"http://10.0.0.7/axis-cgi/mjpg/video.cgi",
        b"file:///srv/clips/a%20b.mp4", b"/dev/video0", b"clips/*.mp4", b"a:b.mp4#1",
    ]  # fmt: skip


def _cards() -> list[bytes]:
    return [path.read_bytes() for path in sorted(MODELS.glob("*.json"))]


def _vectors() -> list[bytes]:
    file = io.BytesIO()
    np.save(file, np.eye(6, 8, dtype=np.float16))
    return [file.getvalue()]


_EXPORTED: Final = ("gallery.json", "embeddings.npz", "crops/000001-Anna/000001.png")


@cache
def _export() -> dict[str, bytes]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery(Path(folder, "people.db"), reader=_Reader()) as gallery,
    ):
        gallery.add("Anna", np.full((160, 160, 3), 128, np.uint8))
        gallery.export(Path(folder, "export"))
        files = (p for p in Path(folder, "export").rglob("*") if p.is_file())
        return {str(p.relative_to(Path(folder, "export"))): p.read_bytes() for p in files}


class _Reader:
    """Stands for the networks, which see no file but aligned crops."""

    model_id = "fuzzed"

    def detect(self, image: Image, *, min_face: int | None = None) -> Faces:
        box = np.array([[20, 20, 140, 140]], np.float32)
        marks = np.array([[[55, 60], [105, 60], [80, 90], [60, 115], [100, 115]]], np.float32)
        return Faces(box, np.ones(1, np.float32), marks)

    def align(self, image: Image, landmarks: Floats) -> Image:
        return np.full((len(landmarks), 112, 112, 3), 128, np.uint8)

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        mu = crops.reshape(len(crops), -1)[:, :8].astype(np.float32) + 1
        return mu, np.zeros_like(mu)


# --- what the product does ------------------------------------------------------------------


def _watch(path: Path) -> object:
    with open_source(path, SourceOptions(max_frames=FRAMES)) as source:
        return [frame.image.shape for frame in source]


def _split(path: Path) -> object:
    splitter, decoder, content = (
        JpegSplitter(),
        _Decoder(SourceOptions(), "camera"),
        path.read_bytes(),
    )
    parts = (content[at : at + 700] for at in range(0, len(content), 700))
    pictures = [CodedPicture(p, decoder) for part in parts for p in splitter.feed(part)]
    return [(picture.sample(), picture.image()) for picture in pictures]


def _configure(path: Path) -> object:
    settings = load_settings(file=path)
    return to_toml(settings), [str(camera.url) for camera in settings.cameras.values()]


def _address(path: Path) -> object:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    with suppress(ValueError):  # as its docstring says
        split_login(text)
    shown = shown_source(text)
    settings = path.with_suffix(".toml")
    written = json.dumps(text.encode("utf-8", "replace").decode())
    settings.write_text(f"[cameras.door]\nurl = {written}\n", encoding="utf-8")
    with suppress(Exception):
        return _configure(settings)
    elsewhere = text.startswith(("/", "..", "file:/")) or text in ("", "-")
    specs = [] if elsewhere else expand_sources([text])
    return shown, [repr(spec) for spec in specs]


def _card(path: Path) -> object:
    return read_card(path)


def _cohort(path: Path) -> object:
    card = json.loads((MODELS / "vae_cohort.json").read_text())
    card |= {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    described = path.with_suffix(".json")
    described.write_text(json.dumps(card))
    return load_cohort(card["encoder"], card=described)


def _restore(member: str) -> Callable[[Path], object]:
    def run(path: Path) -> object:
        with (
            tempfile.TemporaryDirectory() as folder,
            Gallery(Path(folder, "people.db"), reader=_Reader()) as gallery,
        ):
            for name, content in _export().items():
                file = Path(folder, "export", name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(path.read_bytes() if name == member else content)
            results = [str(result) for _, result in gallery.iter_restore(Path(folder, "export"))]
            return results, [person.name for person in gallery.people()], gallery.index_info

    return run


KINDS: Final[Mapping[str, FileKind]] = {
    "mp4": FileKind(lambda: _clips(".mp4", "libx264", "mpeg4"), _watch, ".mp4", _BOXES),
    "jpeg": FileKind(lambda: _pictures("JPEG"), read_photo, ".jpg", _MARKS),
    "mkv": FileKind(
        lambda: _clips(".mkv", "libx264", "mpeg2video"), _watch, ".mkv", (b"\x1aE\xdf\xa3",)
    ),
    "png": FileKind(lambda: _pictures("PNG"), read_photo, ".png", _CHUNKS),
    "ts": FileKind(lambda: _clips(".ts", "libx264", "mpeg2video"), _watch, ".ts", (b"G",)),
    "webp": FileKind(lambda: _pictures("WEBP"), read_photo, ".webp", _CHUNKS),
    "toml": FileKind(_toml, _configure, ".toml", _TEXT),
    "gif": FileKind(lambda: _pictures("GIF", "TIFF", "BMP", "JPEG2000"), read_photo, ".gif"),
    "url": FileKind(_addresses, _address, ".txt", _URLS),
    "heif": FileKind(_extra_pictures, read_photo, ".heic", _BOXES),
    "export": FileKind(lambda: [_export()[_EXPORTED[0]]], _restore(_EXPORTED[0]), ".json", _TEXT),
    "avif": FileKind(lambda: _pictures("AVIF"), read_photo, ".avif", _BOXES),
    "card": FileKind(_cards, _card, ".json", _TEXT),
    "embeddings": FileKind(lambda: [_export()[_EXPORTED[1]]], _restore(_EXPORTED[1]), ".npz"),
    "mjpeg": FileKind(_mjpeg, _split, ".mjpg", (*_MARKS, b"Content-Length: 99999999")),
    "crop": FileKind(lambda: [_export()[_EXPORTED[2]]], _restore(_EXPORTED[2]), ".png", _CHUNKS),
    "cohort": FileKind(_vectors, _cohort, ".npy", (b"(", b"9" * 30, b"|O8", b"'shape'")),
    "picture": FileKind(lambda: _pictures(*_PICTURES), _watch, ".jpg", (*_MARKS, *_CHUNKS)),
}
"""By name; an input's number chooses its kind."""
