"""The picture of docs/redact.md, of the portraits that ship: open, one kept, one covered."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.redaction import RedactionChoice, RedactionOptions, redact

NAME = "Eileen Collins"
WAYS = (
    ("", None),
    (f"--keep '{NAME}'", RedactionOptions(choice=RedactionChoice(keep=frozenset({NAME})))),
    (
        f"--only '{NAME}' --style pixelate",
        RedactionOptions(choice=RedactionChoice(only=frozenset({NAME})), style="pixelate"),
    ),
)


def make_picture(path: Path) -> None:
    """Write it as JPEG."""
    wall = np.full((250, 430, 3), (92, 84, 76), np.uint8)
    for place, portrait in enumerate(portraits()):
        wall[34:242, 5 + 212 * place : 213 + 212 * place] = portrait.image
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.png", Path(folder) / "out.png"
        cv2.imwrite(str(source), wall)
        with Gallery(Path(folder) / "people.db") as gallery:
            gallery.add(NAME, portraits()[0].image)
            panels = []
            for title, options in WAYS:
                if options is not None:
                    redact(source, out, options, gallery=gallery)
                shown = cv2.imread(str(source if options is None else out))
                panels.append(_titled(np.asarray(shown, np.uint8), title))
                out.unlink(missing_ok=True)
    cv2.imwrite(str(path), cv2.hconcat(panels), [cv2.IMWRITE_JPEG_QUALITY, 88])


def _titled(panel: Image, title: str) -> Image:
    cv2.putText(panel, title, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (235,) * 3, 1, cv2.LINE_AA)
    return panel
