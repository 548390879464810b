"""Thresholds that fit a gallery and an installation, instead of those of the model cards."""

from __future__ import annotations

from .calibrate import CalibrationResult, apply_calibration, calibrate, reset_calibration

__all__ = ["CalibrationResult", "apply_calibration", "calibrate", "reset_calibration"]
