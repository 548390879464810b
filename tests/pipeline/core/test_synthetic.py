"""Pictures that say of themselves that no camera took them are refused, whatever their kind."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import (
    SOURCE_TYPES,
    decode_image,
    marked_as,
    read_image,
    xmp_packet,
)
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

RGB = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(RGB).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("source", SOURCE_TYPES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_marked_picture_is_refused(tmp_path: Path, kind: str, source: str) -> None:
    packet = xmp_packet(source)  # type: ignore[arg-type]
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        content = encoded(kind, pnginfo=info)
    else:
        content = encoded(kind, xmp=packet)
    path = tmp_path / "made"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"made is marked as synthetic \\({source}\\)") as refused:
        read_image(path)
    assert refused.value.reason == "synthetic"
    assert marked_as(content) == source


def test_a_compressed_mark_is_found() -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp_packet(SOURCE_TYPES[0]).decode(), zip=True)
    content = encoded("PNG", pnginfo=info)
    assert marked_as(content) is None
    with pytest.raises(ImageError, match="never enrolled or matched"):
        decode_image(content)


def test_the_mark_is_xmp_that_others_can_read() -> None:
    for source in SOURCE_TYPES:
        content = encoded("JPEG", xmp=xmp_packet(source))
        with Pillow.open(io.BytesIO(content)) as picture:
            found = picture.info["xmp"].decode()
        assert f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}" in found
        assert "DigitalSourceType" in found


def test_a_photo_is_not_refused() -> None:
    info = PngInfo()
    camera = xmp_packet(SOURCE_TYPES[0]).decode().replace(SOURCE_TYPES[0], "digitalCapture")
    info.add_itxt("XML:com.adobe.xmp", camera)
    info.add_text("Comment", "trainedAlgorithmicMedia is a word of IPTC's")
    assert (decode_image(encoded("PNG", pnginfo=info)) == RGB[:, :, ::-1]).all()
    assert marked_as(zlib.compress(b"anything")) is None
