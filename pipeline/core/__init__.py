"""Data, errors, events and settings that every other folder uses."""
