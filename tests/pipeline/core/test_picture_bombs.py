"""Files that are small and would take gigabytes, minutes or a program: what they take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.errors import ModelError
from facestream.pipeline.analysis import FaceAnalyzer
from facestream.pipeline.core import arrays, picture_kinds
from facestream.pipeline.core.config import load_settings
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import decode_photo, decode_small, read_photo
from facestream.pipeline.core.picture_headers import jpeg_size
from facestream.pipeline.core.picture_limits import PictureLimits, picture_limits

from . import bombs

REFUSED = "too large|is damaged|too much|too many|more than|not a picture"


def read_in_a_process(folder: Path, files: Mapping[str, bytes]) -> dict[str, tuple[str, int]]:
    """Result and peak memory in MB of each file, in their order."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, bombs.__file__, *(str(folder / name) for name in files)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, done.stdout.splitlines())
    return {name: (result, peak) for name, result, peak in rows}


def test_what_small_files_may_take(tmp_path: Path) -> None:
    files = bombs.refused()
    results = read_in_a_process(tmp_path, files)
    assert list(results) == list(files)
    for name, (result, peak) in results.items():
        if name != "exif.png":  # which is ignored
            assert re.search(REFUSED, result), (name, result)
            assert "\n" not in result
        # The largest file has 40 MB, of which the reader has one copy, and texts are bounded.
        assert peak < 200, (name, peak)


def test_what_a_pixel_takes(tmp_path: Path) -> None:
    """16 bits of grey took 19 bytes: five gigabytes at the limit."""
    side = 5400
    files = {
        "grey.png": bombs.png(side, bits=16, colour=0, rows=side),
        "rgba.png": bombs.png(side, colour=6, rows=side),
    }
    for name, (result, peak) in read_in_a_process(tmp_path, files).items():
        assert result == "2700×2700×3"
        assert peak * 10**6 < 9 * side**2, name


def test_heic_is_refused_by_its_header() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    with pytest.raises(ImageError, match="900 megapixels, and HEIC files are read up to 125"):
        decode_photo(bombs.heic(30_000))
    with pytest.raises(ImageError, match="damaged"):
        decode_photo(bombs.heic(11_000))


def test_jxl_is_refused_by_its_header(limits: Callable[..., None]) -> None:
    library = pytest.importorskip("pylibjxl")
    limits(pixels=16_000)
    with pytest.raises(ImageError, match="JPEG XL files are read up to 0"):
        decode_photo(library.encode(np.zeros((80, 80, 3), np.uint8)))


def test_a_large_file_is_not_read(tmp_path: Path, limits: Callable[..., None]) -> None:
    path = tmp_path / "sparse.jpg"
    path.write_bytes(bombs.encoded("JPEG"))
    os.truncate(path, 30_000_000_000)
    with pytest.raises(ImageError, match=r"too large: 30000 MB, and photos are read up to 256 MB"):
        read_photo(path)
    limits(size=100)
    with pytest.raises(ImageError, match="too large"):
        decode_photo(bombs.encoded("JPEG"))


def test_only_readers_of_photos_run() -> None:
    assert not set(picture_kinds.FORMATS) & {"EPS", "WMF", "PDF", "PSD", "ICO", "FLI"}
    for content in (bombs.POSTSCRIPT, bombs.SVG, b"%PDF-1.4", b"\xd7\xcd\xc6\x9a" + bytes(60)):
        with pytest.raises(ImageError, match="is not a picture that can be read"):
            decode_photo(content)


def test_sizes_of_jpegs() -> None:
    assert jpeg_size(bombs.encoded("JPEG", 48)) == (48, 48)
    assert jpeg_size(bombs.encoded("JPEG", 48, progressive=True)) == (48, 48)
    content = bombs.encoded("JPEG", 48)
    sizes = {jpeg_size(content[:end]) for end in range(len(content))}
    assert sizes == {None, (48, 48)}


def test_crops_are_small() -> None:
    crop = decode_small(bombs.encoded("PNG"))
    assert crop is not None
    assert crop[0, 0].tolist() == [140, 120, 90]
    for content in (b"", b"no picture", bombs.png(20_000), bombs.encoded("PNG")[:60]):
        assert decode_small(content) is None


def test_arrays_are_no_larger_than_they_may_be(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    bombs.arrays(path)
    with pytest.raises(ValueError, match="80000"):
        arrays.read_arrays(path, largest=50_000_000)
    np.savez(tmp_path / "good.npz", a=np.arange(6).reshape(2, 3), b=np.array("text"))
    found = arrays.read_arrays(tmp_path / "good.npz")
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert str(found["b"]) == "text"
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert arrays.read_array(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(2, 3)", b"(2,9**9)"),
        (b"(2, 3)", b"(99999999, 99999999)"),
        (b"<i8", b"|O8"),
        (b"{", b"["),
    ],
)
def test_a_header_that_lies_is_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.int64).reshape(2, 3))
    content = (tmp_path / "a.npy").read_bytes()
    assert old in content
    (tmp_path / "a.npy").write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=r"."):
        arrays.read_array(tmp_path / "a.npy")


def test_the_settings_set_the_limits(tmp_path: Path, limits: Callable[..., None]) -> None:
    limits()
    settings = load_settings(flags={"photos.max_megapixels": 0.001, "photos.max_megabytes": 1.0})
    FaceAnalyzer(settings)
    assert picture_limits() == PictureLimits(size=1_000_000, pixels=1000)
    with pytest.raises(ImageError, match="too large"):
        decode_photo(bombs.encoded("JPEG"))
    FaceAnalyzer()  # without settings of its own it changes nothing
    assert picture_limits().pixels == 1000


def test_errors_are_one_line() -> None:
    assert str(ImageError("a\nb\x1b[31m\udcff")) == "a b\\x1b[31m\\udcff"
    assert str(ModelError("a\r\nb")) == "a b"
    assert len(str(ModelError("x" * 9000))) < 2000
