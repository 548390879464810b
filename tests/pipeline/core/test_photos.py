"""What phones, cameras and programs write: kinds, colours, sizes, damage and times of photos."""

from __future__ import annotations

import os
import sys
import threading
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.exif import taken_at
from facestream.pipeline.core.images import (
    LARGEST_DECODED,
    DecodedPhoto,
    decode_photo,
    no_file,
    read_photo,
)
from facestream.pipeline.core.picture_kinds import content_kind, picture_kind
from facestream.pipeline.core.types import Image
from PIL import ExifTags, ImageCms
from PIL import Image as Pillow

from .test_images import BGR, RGB, encoded

RED = np.full((16, 16, 3), (200, 30, 40), np.uint8)


def heic(picture: Pillow.Image, **options: object) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(picture, "HEIF", quality=95, **options)


def jxl(picture: Pillow.Image, **options: object) -> bytes:
    library = pytest.importorskip("pylibjxl")
    content: bytes = library.encode(np.asarray(picture), **options)
    return content


@pytest.mark.parametrize("make", [heic, jxl])
def test_kinds_of_the_extra(make: Callable[[Pillow.Image], bytes]) -> None:
    image = decode_photo(make(Pillow.fromarray(RGB))).image
    assert image.shape == BGR.shape
    assert np.median(np.abs(image.astype(int) - BGR)) <= 6


@pytest.mark.parametrize(
    ("module", "content"),
    [("pillow_heif", b"\0\0\0\x18ftypheic" + bytes(12)), ("pylibjxl", b"\xff\x0a" + bytes(30))],
)
def test_a_missing_extra_is_named(
    module: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=r"pip install 'facestream\[photos\]'") as caught:
        decode_photo(content, name="me.heic")
    assert str(caught.value).startswith("me.heic is a ")


@pytest.mark.parametrize("suffix", ["gif", "heic", "jxl"])
def test_portraits_of_the_cases(suffix: str, shared_cases: Path) -> None:
    path = shared_cases / f"01-portrait.{suffix}"
    if suffix != "gif":
        pytest.importorskip({"heic": "pillow_heif", "jxl": "pylibjxl"}[suffix])
    assert content_kind(path) == "picture"
    image = read_photo(path).image
    assert image.shape == (208, 208, 3)
    assert image.mean(axis=(0, 1)) == pytest.approx([130.6, 143.3, 157.9], abs=0.5)


def test_the_first_picture_of_an_animation() -> None:
    frames = [Pillow.fromarray(RGB), Pillow.fromarray(255 - RGB)]
    for kind, options in (("WEBP", {"lossless": True}), ("GIF", {}), ("PNG", {}), ("AVIF", {})):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert np.median(np.abs(decode_photo(content).image.astype(int) - BGR)) <= 8, kind


def test_the_content_decides(tmp_path: Path) -> None:
    photo = encoded(Pillow.fromarray(RGB), "JPEG")
    clip = b"\0\0\0\x20ftypisom" + bytes(20)
    contents = {
        "photo.mp4": (photo, "picture"),
        "photo.heic": (photo, "picture"),
        "frames.mjpeg": (photo, None),  # a raw stream begins like a JPEG
        "clip.jpg": (clip, "video"),
        "clip.jpeg": (b"\x1aE\xdf\xa3" + bytes(30), "video"),
        "text.jpg": (b"this is text", None),
        "empty.jpg": (b"", None),
    }
    for name, (content, kind) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert content_kind(tmp_path / name) == kind, name
    assert content_kind(tmp_path / "missing.jpg") is None
    avif = encoded(Pillow.fromarray(RGB), "AVIF")
    assert picture_kind(avif[:64]) == "AVIF"
    assert picture_kind(avif[:8] + b"mif1" + avif[12:64]) == "AVIF"  # a compatible brand
    for kind in ("BMP", "PPM", "JPEG2000", "TIFF", "GIF", "WEBP", "PNG"):
        assert picture_kind(encoded(Pillow.fromarray(RGB), kind)[:64]) == kind


def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(ImageError, match="named pipe or a device"):
            read_photo(path)


def test_the_pipe_of_a_shell_is_read() -> None:
    readable, writable = os.pipe()
    content = encoded(Pillow.fromarray(RGB), "PNG")
    writer = threading.Thread(
        target=lambda: os.close(writable) if os.write(writable, content) else 0
    )
    writer.start()
    assert no_file(Path(f"/dev/fd/{readable}")) is None
    assert (read_photo(f"/dev/fd/{readable}").image == BGR).all()
    writer.join()
    os.close(readable)


# --- colours --------------------------------------------------------------------------------


def colour_of(content: bytes) -> list[int]:
    return [int(value) for value in np.median(decode_photo(content).image, axis=(0, 1))[::-1]]


def wide_profile() -> bytes:
    """A profile with the primaries of Display P3 and the curve of sRGB."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return display_p3(srgb)


def display_p3(srgb: bytes) -> bytes:
    """Replace the three primaries (XYZ, D50) of a profile."""
    content = bytearray(srgb)
    xyz = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for number in range(int.from_bytes(content[128:132], "big")):
        entry = content[132 + 12 * number : 144 + 12 * number]
        if bytes(entry[:4]) in xyz:
            at = int.from_bytes(entry[4:8], "big") + 8
            for place, value in enumerate(xyz[bytes(entry[:4])]):
                fixed = round(value * 65536).to_bytes(4, "big", signed=True)
                content[at + 4 * place : at + 4 * place + 4] = fixed
        if bytes(entry[:4]) == b"desc":
            start, size = (int.from_bytes(entry[a : a + 4], "big") for a in (4, 8))
            text = bytes(content[start : start + size])
            content[start : start + size] = text.replace(b"sRGB", b"wide").replace(
                "sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")
            )
    return bytes(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_wide_colours_become_srgb(kind: str) -> None:
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    picture = Pillow.fromarray(np.repeat(np.repeat(RED, 4, 0), 4, 1))
    content = encoded(picture, kind, icc_profile=wide_profile(), **options)
    # (200, 30, 40) of Display P3 is redder than sRGB's: 219, clipped green.
    assert colour_of(content) == pytest.approx([218, 0, 33], abs=8)
    assert colour_of(encoded(picture, kind, **options)) == pytest.approx([200, 30, 40], abs=4)


def test_a_damaged_profile_is_ignored() -> None:
    content = encoded(Pillow.fromarray(RED), "PNG", icc_profile=b"no profile at all")
    assert colour_of(content) == [200, 30, 40]


def test_cmyk_with_and_without_the_marker_of_adobe() -> None:
    cmyk = Pillow.fromarray(np.repeat(np.repeat(RED, 4, 0), 4, 1)).convert("CMYK")
    adobe = encoded(cmyk, "JPEG", quality=95)
    at = adobe.index(b"\xff\xee")
    length = int.from_bytes(adobe[at + 2 : at + 4], "big")
    assert adobe[at + 4 : at + 9] == b"Adobe"
    assert colour_of(adobe) == pytest.approx([200, 30, 40], abs=8)
    # Without the marker, 255 is full ink.
    plain = encoded(cmyk.point(lambda value: 255 - value), "JPEG", quality=95)
    plain = plain[:at] + plain[at + 2 + length :]
    assert colour_of(plain) == pytest.approx([200, 30, 40], abs=8)
    assert colour_of(encoded(cmyk, "TIFF")) == pytest.approx([200, 30, 40], abs=2)


def test_lab_and_one_bit() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(Pillow.fromarray(RED), srgb, lab, outputMode="LAB")
    assert picture is not None
    assert colour_of(encoded(picture, "TIFF")) == pytest.approx([200, 30, 40], abs=6)
    dots = Pillow.fromarray(RGB[:, :, 0]).convert("1")
    assert set(np.unique(decode_photo(encoded(dots, "TIFF")).image)) == {0, 255}


# --- sizes and damage -----------------------------------------------------------------------


def of_size(width: int, height: int, *, progressive: bool = False) -> bytes:
    grey = np.tile(np.linspace(0, 255, width, dtype=np.uint8), (height, 1))
    flags = [cv2.IMWRITE_JPEG_QUALITY, 50, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", grey, flags)[1].tobytes()


def test_a_large_jpeg_is_decoded_at_a_fraction() -> None:
    photo = decode_photo(of_size(8000, 5000))
    assert photo.scale == 2
    assert photo.image.shape == (2500, 4000, 3)
    assert photo.image[0, ::400, 0].tolist() == pytest.approx(list(range(0, 250, 25)), abs=6)


def test_a_large_picture_of_another_kind_is_reduced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facestream.pipeline.core.images.LARGEST_DECODED", 1000)
    for kind in ("PNG", "TIFF", "WEBP", "GIF"):
        photo = decode_photo(encoded(Pillow.fromarray(RGB), kind))
        assert (photo.scale, photo.image.shape) == (2, (20, 30, 3)), kind
    turned = Pillow.Exif()
    turned[ExifTags.Base.Orientation] = 6
    photo = decode_photo(encoded(Pillow.fromarray(RGB), "PNG", exif=turned))
    assert photo.image.shape == (30, 20, 3)


def test_a_picture_that_is_too_large_is_refused_in_one_line() -> None:
    head = encoded(Pillow.fromarray(RGB), "PNG")
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + head[24:29]
    check = zlib.crc32(header).to_bytes(4, "big")
    with pytest.raises(ImageError, match=r"400 megapixels, and PNG files are read up to 166"):
        decode_photo(head[:12] + header + check + head[33:])
    jpeg = of_size(64, 48)
    at = jpeg.index(b"\xff\xc0") + 5
    with pytest.raises(ImageError, match=r"photo is too large: 60000×60000 are 3600 megapixels"):
        decode_photo(jpeg[:at] + (60_000).to_bytes(2, "big") * 2 + jpeg[at + 4 :], name="photo")
    assert LARGEST_DECODED < 166_000_000


@pytest.mark.parametrize("progressive", [False, True])
def test_what_is_there_of_a_jpeg_is_used(progressive: bool) -> None:
    whole = of_size(640, 480, progressive=progressive)
    picture = decode_photo(whole)
    assert picture.damage == ""
    cut = decode_photo(whole[:-2], name="photo.jpg")
    assert (cut.image == picture.image).all()
    assert cut.damage == "photo.jpg is cut short; what is there is used"
    half = decode_photo(whole[: len(whole) * 2 // 3])
    assert half.damage
    assert half.image.shape == picture.image.shape
    if not progressive:
        assert (half.image[:200] == picture.image[:200]).all()


# --- EXIF -----------------------------------------------------------------------------------


def with_exif(kind: str, **texts: str) -> DecodedPhoto:
    exif = Pillow.Exif()
    inside = exif.get_ifd(ExifTags.IFD.Exif)
    for name, text in texts.items():
        inside[ExifTags.Base[name]] = text
    picture = Pillow.fromarray(RGB)
    if kind == "HEIF":
        return decode_photo(heic(picture, exif=exif.tobytes()))
    if kind == "JXL":
        return decode_photo(jxl(picture, exif=exif.tobytes().removeprefix(b"Exif\0\0")))
    return decode_photo(encoded(picture, kind, exif=exif.tobytes()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"])
def test_the_time_of_a_photo(kind: str) -> None:
    photo = with_exif(
        kind,
        DateTimeOriginal="2024:05:06 07:08:09",
        OffsetTimeOriginal="+02:00",
        SubsecTimeOriginal="25",
    )
    assert photo.taken == datetime(2024, 5, 6, 5, 8, 9, 250_000, UTC).timestamp()
    assert photo.image.shape == BGR.shape


def test_times_that_are_none_and_times_without_an_offset() -> None:
    assert with_exif("JPEG").taken is None
    local = datetime(2024, 5, 6, 7, 8, 9).timestamp()
    assert with_exif("JPEG", DateTimeOriginal="2024:05:06 07:08:09").taken == local
    assert with_exif("JPEG", DateTimeDigitized="2024:05:06 07:08:09").taken == local
    odd = {"OffsetTimeOriginal": "somewhere", "SubsecTimeOriginal": "x"}
    assert with_exif("JPEG", DateTimeOriginal="2024:05:06 07:08:09", **odd).taken == local
    later = f"{datetime.now() + timedelta(days=3):%Y:%m:%d %H:%M:%S}"
    for text in ("0000:00:00 00:00:00", "    :  :     :  :  ", "2024:13:45 07:08:09", later):
        assert with_exif("JPEG", DateTimeOriginal=text).taken is None
    assert taken_at(Pillow.fromarray(RGB)) is None


def test_damaged_exif_is_no_reason_to_refuse(recwarn: pytest.WarningsRecorder) -> None:
    content = encoded(Pillow.fromarray(RGB), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    image: Image = decode_photo(content).image
    assert image.shape == BGR.shape
    recwarn.clear()
