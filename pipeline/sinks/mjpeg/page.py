"""The page that shows all sources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from .views import View

STREAMS_AT_ONCE = 4
"""Browsers open six connections to a host; with more sources the page shows snapshots."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>facestream</title>
<style>
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1b1f24;
  --soft: #68717c; --line: #dfe3e8; --live: #1f9d55; --other: #c27c0e; }
@media (prefers-color-scheme: dark) { :root { --ground: #101316; --card: #191d22;
  --ink: #e8ebee; --soft: #97a1ac; --line: #2a3038; --live: #4ade80; --other: #fbbf24; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
header { padding: 20px 24px 4px; }
h1 { margin: 0; font-size: 19px; font-weight: 650; letter-spacing: -.01em; }
main { display: grid; gap: 16px; padding: 16px 24px 32px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
a { color: inherit; text-decoration: none; }
figure { margin: 0; overflow: hidden; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
img { display: block; width: 100%; aspect-ratio: 16 / 9; object-fit: contain;
  background: #000; color: transparent; }
figcaption { display: flex; gap: 8px; align-items: center; padding: 10px 14px;
  font-weight: 550; overflow-wrap: anywhere; }
i { flex: none; width: 9px; height: 9px; border-radius: 50%; background: var(--other); }
i.live { background: var(--live); }
small { margin-left: auto; color: var(--soft); font-weight: 400; }
p { color: var(--soft); padding: 0 24px; }
</style>
</head>
<body>
<header><h1>facestream</h1></header>
__BODY__
<script>
const query = "__QUERY__";
for (const image of document.querySelectorAll("img[data-snapshot]")) {
  const next = () => setTimeout(() => {
    if (document.hidden) return next();
    image.src = image.dataset.snapshot + (query ? query + "&" : "?") + "t=" + Date.now();
  }, 500);
  image.onload = image.onerror = next;
}
setInterval(async () => {
  try {
    const sources = await (await fetch("sources.json" + query)).json();
    if (sources.length !== document.querySelectorAll("figure").length) return location.reload();
    for (const { label, state } of sources) {
      const figure = document.getElementById("source-" + label);
      figure.querySelector("i").className = state ?? "live";
      figure.querySelector("small").textContent = state ?? "";
    }
  } catch { /* the program has ended: the last pictures stay */ }
}, 3000);
</script>
</body>
</html>
"""


def index_page(views: Sequence[View], *, token: str | None) -> str:
    """The page.

    Args:
        views: what it shows, in this order.
        token: with which it was asked for; goes into its links.
    """
    query = "" if token is None else f"?token={quote(token, safe='')}"
    streams = len(views) <= STREAMS_AT_ONCE
    body = "\n".join(_figure(view, query, streams=streams) for view in views)
    main = f"<main>\n{body}\n</main>" if views else "<p>No source has started yet.</p>"
    return _PAGE.replace("__BODY__", main).replace("__QUERY__", query)


def _figure(view: View, query: str, *, streams: bool) -> str:
    label, name = quote(view.label, safe=""), escape(view.name)
    stream, snapshot = f"{label}.mjpeg{query}", f"{label}.jpg"
    source = f'src="{stream}"' if streams else f'src="{snapshot}{query}" data-snapshot="{snapshot}"'
    return (
        f'<a href="{stream}"><figure id="source-{escape(view.label)}">'
        f'<img {source} alt="{name}"><figcaption><i class="{view.state or "live"}"></i>{name}'
        f"<small>{view.state or ''}</small></figcaption></figure></a>"
    )
