"""Alembic's scripts: how a gallery of an older schema becomes one of today's."""
