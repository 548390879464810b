"""Alembic's scripts, which upgrade a gallery of an older schema."""
