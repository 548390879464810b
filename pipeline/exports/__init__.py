"""Sightings as other programs read them: CSV, Parquet, iCalendar, and the digest of a day."""
