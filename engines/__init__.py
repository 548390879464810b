"""Runs a network or a vector index on a device; knows nothing about faces."""

if __name__ != "facestream.engines":
    raise ImportError(
        "import this package as 'facestream.engines' (install it with 'pip install .'); "
        "the folder name alone is not importable on purpose"
    )
