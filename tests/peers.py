"""The peers our parity tests run against."""

from facestream.pipeline.bench.facenet import (
    facenet_detect,
    facenet_mtcnn,
    facenet_pytorch,
    nms,
)

__all__ = ["facenet_detect", "facenet_mtcnn", "facenet_pytorch", "nms"]
