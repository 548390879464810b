"""Makes the models: data, VAE, losses, training, evaluation and export (needs torch)."""

if __name__ != "facestream.training":
    raise ImportError(
        "import this package as 'facestream.training' (install it with 'pip install .'); "
        "the folder name alone is not importable on purpose"
    )
