"""Keys of names after ``names.name_key`` as of this version: more spellings are one person's.

Two people whose names have the same key now both stay: the later one keeps its name, with a key
that no other name has, and is found by its exact spelling.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    # A script has no package from which it could import.
    config = op.get_context().config
    assert config is not None
    name_key = config.attributes["name_key"]
    people = connection.exec_driver_sql("SELECT id, name, name_key FROM people ORDER BY id").all()
    taken: set[str] = set()
    changed = []
    for person, name, old in people:
        key = name_key(name)
        if key in taken:
            key = f"{key}\n{person}"
        taken.add(key)
        if key != old:
            changed.append((key, person))
    # In two steps: a new key may be another person's old one.
    for key, person in [(f"\n{person}", person) for _, person in changed] + changed:
        connection.exec_driver_sql("UPDATE people SET name_key = ? WHERE id = ?", (key, person))
