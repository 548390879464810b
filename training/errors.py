"""The training package's errors: each message is one line and says what to do."""

from __future__ import annotations


class TrainingError(Exception):
    """Base: something about data, a checkpoint or the model stops the work."""


class DataError(TrainingError):
    """The training or evaluation data is missing, empty or not what was expected."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged or of another architecture."""


class CollapseError(TrainingError):
    """Training went wrong in a way that more steps would not mend."""
