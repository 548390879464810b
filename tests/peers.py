"""The peers our parity tests run against."""

from benchmarks.facenet import facenet_detect, facenet_mtcnn, facenet_pytorch, nms

__all__ = ["facenet_detect", "facenet_mtcnn", "facenet_pytorch", "nms"]
