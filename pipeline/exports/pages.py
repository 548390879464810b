"""One HTML file with its pictures in it; it loads nothing."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1c1e21; background: #fff }
ol { list-style: none; padding: 0; display: grid; gap: 1rem;
     grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
li { border: 1px solid #d0d4da; border-radius: 6px; overflow: hidden }
img { width: 100%; height: 12rem; object-fit: contain; background: #f2f3f5; display: block }
p { margin: .4rem .6rem } .when { font-weight: 600 } .where { color: #555; overflow-wrap: anywhere }
code { font-size: 12px; overflow-wrap: anywhere }
figure { display: flex; margin: 0 } figure img { min-width: 0; height: 9rem }
"""


def picture_url(data: bytes, kind: str = "jpeg") -> str:
    """A picture as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def image(*urls: str) -> str:
    """These pictures side by side; nothing where there is none."""
    images = "".join(f'<img alt="" src="{url}">' for url in urls)
    return f"<figure>{images}</figure>" if len(urls) > 1 else images


def item(pictures: Iterable[str | None], *lines: str) -> str:
    """An ``li`` with pictures and plain text: the first line is bold, the second may be long."""
    classes = (' class="when"', ' class="where"')
    text = "".join(
        f"<p{classes[number] if number < len(classes) else ''}>{html.escape(line)}</p>"
        for number, line in enumerate(lines)
    )
    return f"<li>{image(*filter(None, pictures))}{text}</li>"


def page(title: str, headline: str, items: Iterable[str]) -> bytes:
    """A page of ``li`` elements; title and headline are plain text."""
    shown = html.escape(title)
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{shown}</title>'
        f"<style>{_STYLE}</style><h1>{shown}</h1>"
        f"<p>{html.escape(headline)}</p><ol>{''.join(items)}</ol></html>\n"
    )
    return text.encode("utf-8", "backslashreplace")
