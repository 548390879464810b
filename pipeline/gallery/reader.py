"""What enrolment needs of the networks, and the real ones behind it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from facestream.engines.closing import Closing
from facestream.engines.options import Serving

from ..core.types import Faces, Floats, Image

if TYPE_CHECKING:
    from ..detection.mtcnn.detector import Mtcnn
    from ..recognition.encoder import Encoder

# Smaller than what is accepted, so that a small face is not reported as no face.
MIN_FACE = 20


class FaceReader(Protocol):
    """Finds and embeds faces."""

    @property
    def model_id(self) -> str:
        """Changes whenever the embeddings do."""
        ...

    def detect(self, image: Image) -> Faces:
        """The faces of a picture H×W×3 BGR uint8."""
        ...

    def align(self, image: Image, landmarks: Floats) -> Image:
        """Crops N×112×112×3 BGR uint8 of the faces with these landmarks N×5×2."""
        ...

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        """mu N×D (not normalised) and logvar N×D of crops N×112×112×3 BGR uint8."""
        ...


class VisionReader(Closing):
    """MTCNN and the shipped encoder, loaded when they are first needed.

    Args:
        detector: to share one that is loaded already; it should find faces of 20 pixels.
        encoder: to share one that is loaded already.
        serving: what is to run them.
    """

    def __init__(
        self,
        *,
        detector: Mtcnn | None = None,
        encoder: Encoder | None = None,
        serving: Serving = Serving(),
    ) -> None:
        self._detector = detector
        self._encoder = encoder
        self._serving = serving
        self._loaded = ExitStack()

    def close(self) -> None:
        """Free the networks that it loaded itself."""
        self._loaded.close()

    @property
    def model_id(self) -> str:
        """The encoder's id."""
        return self._loaded_encoder().model_id

    def detect(self, image: Image) -> Faces:
        """See ``FaceReader``."""
        if self._detector is None:
            from ..detection.mtcnn.detector import Mtcnn

            detector = Mtcnn(min_face=MIN_FACE, serving=self._serving)
            self._loaded.callback(detector.close)
            self._detector = detector
        return self._detector.detect(image)

    def align(self, image: Image, landmarks: Floats) -> Image:
        """See ``FaceReader``."""
        from ..recognition.align import align_faces

        return align_faces(image, landmarks)

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        """See ``FaceReader``."""
        return self._loaded_encoder().embed(crops)

    def _loaded_encoder(self) -> Encoder:
        if self._encoder is None:
            from ..recognition.encoder import Encoder

            encoder = Encoder(serving=self._serving)
            self._loaded.callback(encoder.close)
            self._encoder = encoder
        return self._encoder
