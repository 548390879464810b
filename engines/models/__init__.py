"""The networks that ship: ``<name>.onnx``, each with its card ``<name>.json``.

A card (``facestream.engines.cards.ModelCard``) says what the tensors mean, where the weights come
from, under which terms, how well they do and what the file's SHA-256 is. ``LICENSE.*`` hold the
notices the weights' licences ask for. The scripts that make these files are in ``training/``.
"""
