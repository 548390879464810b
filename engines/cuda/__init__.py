"""The CUDA runtime as engines use it: memory, streams, events and graphs over ``cuda-bindings``.

Importing this package imports no binding and starts no device.
"""
