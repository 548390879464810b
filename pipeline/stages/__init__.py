"""The steps between a decoded frame and a sighting, each a function of a batch."""
