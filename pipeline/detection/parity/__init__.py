"""The gate of the detector: its faces against those of the float32 cascade."""
