"""Networks on NVIDIA GPUs through TensorRT or TensorRT-RTX: plans are built, kept and run.

Importing this package imports neither of them.
"""
