"""Covers the faces of a photo; what is written has no metadata and no thumbnail."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..analysis import FaceAnalyzer
from ..core.errors import OutputError
from ..core.images import read_photo
from ..core.types import Identity, Image
from ..sinks.files import write_whole
from .covers import cover_image
from .options import RedactionOptions
from .plan import head_boxes
from .report import RedactedFace, RedactionCheck
from .verify import names, share_within

SUFFIXES = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".png": [],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
    ".tif": [],
    ".tiff": [],
}
"""What a redacted photo can be, and how OpenCV encodes it."""


def redact_picture(
    path: Path, out: Path, analyzer: FaceAnalyzer, options: RedactionOptions
) -> tuple[tuple[RedactedFace, ...], RedactionCheck | None]:
    """Cover the faces of a photo.

    Raises:
        ImageError: it cannot be read.
        OutputError: it cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        raise OutputError(f"cannot write {out}: give a name that ends in {kinds}")
    photo = read_photo(path)
    image = photo.image.copy()
    found = analyzer.analyze(photo.image)
    choice = options.choice
    faces, hidden = [], []
    for identity, box, spread in zip(found.identities, found.faces.boxes, found.sigma, strict=True):
        verdict = analyzer.matcher.verdict(identity, float(spread))
        # Another candidate of an ambiguous face may be the one to hide.
        covered = choice.covers(identity.name, verdict, followed_as=_candidates(identity))
        hidden.append(covered)
        side = float((box[2:] - box[:2]).min())
        reason = None if choice.everybody else identity.reason
        faces.append(
            RedactedFace(
                *(0.0, 0.0, identity.name, verdict, reason, 1),
                *(int(covered), int(not covered), 0, round(side, 1)),
            )
        )
    covers = head_boxes(found.faces.boxes[np.array(hidden, np.bool_)], options.margin)
    cover_image(image, covers, options.style)
    good, data = cv2.imencode(out.suffix, image, SUFFIXES[out.suffix.lower()])
    if not good:
        raise OutputError(f"cannot write {out}: OpenCV does not encode it")
    options.advance("cover", 0, 1)
    write_whole(out, data.tobytes())
    return tuple(faces), _verified(image, covers, analyzer) if options.verify else None


def _candidates(identity: Identity) -> list[str]:
    return [one.name for one in identity.candidates]


def _verified(
    image: Image, covers: np.ndarray[tuple[int, ...], np.dtype[np.float32]], analyzer: FaceAnalyzer
) -> RedactionCheck:
    again = analyzer.detect(image)
    again = again.take(share_within(again.boxes, covers) >= 0.5)
    named = names(analyzer, image, again) if len(again) else []
    return RedactionCheck(1, (), (0.0,) * bool(named), len(again))
