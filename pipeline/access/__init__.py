"""Who may ask the service: roles, keys of machines, users and their sessions, the audit log."""
