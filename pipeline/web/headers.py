"""Headers of every answer."""

from __future__ import annotations

HEADERS = {
    "Cache-Control": "no-store",
    # Nothing is loaded, sent or framed but what a page's own policy allows.
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # A page of another site must not show our pictures, nor learn the token from a link.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""An answer that sets one of them itself keeps its own."""
