"""Alignment, the encoder, uncertainty and score normalisation."""
