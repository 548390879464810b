"""The running system: sources, stages and sinks that turn video into sightings."""

if __name__ != "facestream.pipeline":
    raise ImportError(
        "import this package as 'facestream.pipeline' (install it with 'pip install .'); "
        "the folder name alone is not importable on purpose"
    )
