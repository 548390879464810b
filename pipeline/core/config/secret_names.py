"""Words in the names of a URL's parameters that say that their values are secrets."""

from __future__ import annotations

SECRET_WORDS = r"pass|pwd|token|secret|key|auth|sig|login|cred"
"""A regular expression; to be matched anywhere in a name, in any case."""
LOGIN_WORDS = rf"{SECRET_WORDS}|user"
"""With those that say who logs in."""
