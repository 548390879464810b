"""Pictures as files that say of themselves that no camera took them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from facestream.pipeline.core.images import PNG_KEYWORD, SourceType, xmp_packet
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..errors import TrainingError

Picture = NDArray[np.uint8]
LABEL: Final = "SYNTHETIC - made by facestream"
_GAP: Final = 2
_FOOTER: Final = 16
_MARGIN: Final = 96


def to_tensor(pictures: Picture) -> Tensor:
    """N×H×W×3 RGB uint8 as N×3×H×W in −1..1."""
    planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    return planes.float() / 127.5 - 1.0


def to_pictures(faces: Tensor) -> Picture:
    """N×3×H×W in −1..1 as N×H×W×3 RGB uint8."""
    values = ((faces.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return np.ascontiguousarray(values.cpu().numpy(), np.uint8)


def save_synthetic(
    path: Path, picture: Picture, *, source: SourceType = "trainedAlgorithmicMedia"
) -> None:
    """Write a picture with the mark of its origin, in one step.

    Args:
        path: ``.png``, or ``.jpg``/``.jpeg``.
        picture: H×W×3 RGB uint8.
        source: made altogether, or a photograph with made parts.

    Raises:
        TrainingError: another kind of file, or it cannot be written.
    """
    kind = path.suffix.lower()
    partial = path.with_name(f".{path.name}.partial")
    image = Pillow.fromarray(picture)
    try:
        if kind == ".png":
            info = PngInfo()
            xmp = xmp_packet(source).decode()
            info.add_itxt("XML:com.adobe.xmp", xmp)
            info.add_text(PNG_KEYWORD, f"{source}: made by facestream; shows no real event")
            image.save(partial, "PNG", pnginfo=info)
        elif kind in (".jpg", ".jpeg"):
            image.save(partial, "JPEG", quality=95, xmp=xmp_packet(source))
        else:
            raise TrainingError(f"a made picture is written as .png or .jpg, not {path.name}")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(f"cannot write {path}: {error.strerror or error}") from error


def grid(rows: Sequence[Sequence[Picture]], *, names: Sequence[str] = ()) -> Picture:
    """Rows of equal pictures as one, with their names on the left and the label below.

    Args:
        rows: of H×W×3 RGB uint8, all of one size; rows may differ in length.
        names: of the rows; none when empty.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    left = _MARGIN if names else 0
    sheet = np.full(
        (
            len(rows) * (height + _GAP) + _FOOTER,
            max(left + columns * (width + _GAP), 8 * len(LABEL)),
            3,
        ),
        255,
        np.uint8,
    )
    for i, row in enumerate(rows):
        top = i * (height + _GAP)
        for j, picture in enumerate(row):
            x = left + j * (width + _GAP)
            sheet[top : top + height, x : x + width] = picture
        if names:
            _write(sheet, names[i], (2, top + height // 2))
    _write(sheet, LABEL, (2, len(sheet) - 4))
    return sheet


def _write(sheet: Picture, text: str, where: tuple[int, int]) -> None:
    cv2.putText(sheet, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.33, (40, 40, 40), 1, cv2.LINE_AA)
