"""The database of people and sightings: its file, tables and migrations."""
