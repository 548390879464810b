"""MTCNN on a CUDA device through torch: from uploaded frames to boxes, with one copy back."""
