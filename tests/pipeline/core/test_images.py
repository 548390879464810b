"""Every kind of picture file comes out upright and BGR, or is refused in one line."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import decode_image, read_image, to_bgr
from facestream.pipeline.core.picture_kinds import PICTURE_SUFFIXES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

TRAINED_WITH = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

# Left half red, right half blue, top row of pixels darker: every turn of it shows.
RGB = np.zeros((40, 60, 3), np.uint8)
RGB[:, :30] = (200, 0, 0)
RGB[:, 30:] = (0, 0, 200)
RGB[:8] //= 2
BGR = np.ascontiguousarray(RGB[:, :, ::-1])


def encoded(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "GIF"])
def test_kinds_of_files(tmp_path: Path, kind: str) -> None:
    options = {"quality": 95, "lossless": True} if kind == "WEBP" else {}
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(encoded(Pillow.fromarray(RGB), kind, **options))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    far = np.abs(image.astype(int) - BGR).max(axis=2)
    assert np.median(far) <= 3


def test_grey() -> None:
    grey = RGB[:, :, 0]
    image = decode_image(encoded(Pillow.fromarray(grey), "PNG"))
    assert (image == grey[:, :, None]).all()
    two_levels = decode_image(encoded(Pillow.fromarray(grey > 100), "PNG"))
    assert set(np.unique(two_levels)) == {0, 255}


def test_palette_with_and_without_transparency() -> None:
    palette = Pillow.fromarray(RGB).quantize(8)
    assert palette.mode == "P"
    assert np.abs(decode_image(encoded(palette, "PNG")).astype(int) - BGR).max() <= 8
    clear = palette.getpixel((0, 20))
    image = decode_image(encoded(palette, "PNG", transparency=clear))
    assert (image[20, 0] == 255).all()


def test_transparency_lies_on_white() -> None:
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[:, :10, 3] = 0
    rgba[:, 10:20, 3] = 128
    image = decode_image(encoded(Pillow.fromarray(rgba), "PNG"))
    assert (image[:, :10] == 255).all()
    assert (image[:, 20:] == BGR[:, 20:]).all()
    assert image[20, 15].tolist() == [127, 127, 227]
    grey_alpha = Pillow.fromarray(rgba).convert("LA")
    assert (decode_image(encoded(grey_alpha, "PNG"))[:, :10] == 255).all()


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("colours", ["grey", "colour"])
def test_16_bit(kind: str, colours: str) -> None:
    deep = BGR.astype(np.uint16) * 257
    if colours == "grey":
        deep = deep[:, :, 2]
    done, buffer = cv2.imencode(kind, deep)
    assert done
    image = decode_image(buffer.tobytes())
    assert (image == to_bgr((deep >> 8).astype(np.uint8))).all()


def test_floating_point_grey() -> None:
    for top in (1.0, 255.0, 65535.0, 1e6):
        values = np.linspace(0, top, 200, dtype=np.float32).reshape(10, 20)
        image = decode_image(encoded(Pillow.fromarray(values), "TIFF"))
        assert image.min() == 0
        assert image.max() >= 254
    bad = np.full((4, 4), np.nan, np.float32)
    with pytest.raises(ImageError, match="not numbers"):
        decode_image(encoded(Pillow.fromarray(bad), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_rotation_is_undone(orientation: int, kind: str) -> None:
    turns = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT,
        3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_90,
        7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_270,
    }
    stored = Pillow.fromarray(RGB)
    if orientation in turns:
        stored = stored.transpose(turns[orientation])
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    image = decode_image(encoded(stored, kind, exif=exif))
    assert image.shape == BGR.shape
    assert np.median(np.abs(image.astype(int) - BGR)) <= 8


def test_cmyk_jpeg_and_animation() -> None:
    image = decode_image(encoded(Pillow.fromarray(RGB).convert("CMYK"), "JPEG"))
    assert np.median(np.abs(image.astype(int) - BGR)) <= 8
    frames = [Pillow.fromarray(RGB), Pillow.fromarray(255 - RGB)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.median(np.abs(decode_image(content).astype(int) - BGR)) <= 8


def test_one_pixel() -> None:
    image = decode_image(encoded(Pillow.fromarray(RGB[:1, :1]), "PNG"))
    assert image.tolist() == [[[0, 0, 100]]]


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    photo = encoded(Pillow.fromarray(RGB), "JPEG")
    contents = {
        "empty.png": (b"", "is empty"),
        "text.jpg": (b"this is not a picture\n", "not a picture"),
        "cut.jpg": (photo[: len(photo) // 2], "damaged"),
        "zeros.png": (bytes(1000), "not a picture"),
    }
    for name, (content, message) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ImageError, match=message) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.reason == "unreadable"
    with pytest.raises(ImageError, match="no picture at"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "DIB"])  # known by its first bytes, and to Pillow only
def test_too_many_pixels_are_refused(kind: str, limits: Callable[..., None]) -> None:
    content = encoded(Pillow.fromarray(np.zeros((300, 300), np.uint8)), kind)
    limits(pixels=1000)
    with pytest.raises(ImageError, match="too large: 300×300"):
        decode_image(content)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.05, 1),
)
def test_damaged_files_give_a_picture_or_an_image_error(
    kind: str, changes: list[tuple[float, int]], length: float
) -> None:
    content = bytearray(encoded(Pillow.fromarray(RGB), kind))
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = decode_image(bytes(content[: max(1, int(length * len(content)))]))
        except ImageError:
            return
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.dtype == np.uint8


def test_arrays() -> None:
    assert to_bgr(BGR) is BGR
    assert (to_bgr(BGR[:, :, 0]) == BGR[:, :, :1]).all()
    assert (to_bgr(BGR[:, :, :1]) == BGR[:, :, :1]).all()
    assert (to_bgr(BGR.astype(np.uint16) << 8) == BGR).all()
    assert set(np.unique(to_bgr(BGR[:, :, 0] > 0))) == {0, 255}
    alpha = np.dstack([BGR, np.full(BGR.shape[:2], 255, np.uint8)])
    assert (to_bgr(alpha) == BGR).all()
    for bad in (
        np.zeros((3, 3), np.float32),
        np.zeros((3, 3, 2), np.uint8),
        np.zeros((3, 0, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.uint8(3),
    ):
        with pytest.raises(ImageError, match="a picture must be"):
            to_bgr(np.asarray(bad))


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
def test_every_suffix_that_is_searched_for_can_be_read(suffix: str, tmp_path: Path) -> None:
    """By Pillow, which reads photos, and by OpenCV, which reads training sets."""
    grey = Pillow.fromarray(np.full((40, 30), 255, np.uint8))
    picture = grey.convert({".pbm": "1", ".pgm": "L"}.get(suffix, "RGB"))
    path = tmp_path / f"picture{suffix}"
    if suffix == ".jxl":
        path.write_bytes(pytest.importorskip("pylibjxl").encode(np.asarray(picture)))
    else:
        if suffix in {".heic", ".heics", ".heif", ".heifs", ".hif"}:
            pytest.importorskip("pillow_heif").register_heif_opener()
        picture.save(path)
    image = read_image(path)
    assert image.shape == (40, 30, 3)
    assert image.min() > 250
    if suffix in TRAINED_WITH:
        assert cv2.imread(str(path)) is not None
