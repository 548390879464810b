"""``facestream mcp``, asked by the client of the package over standard input and output."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import facestream.pipeline.detection.portraits
import pytest
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import appeared, left

mcp = pytest.importorskip("mcp")

_START = "import conftest, sys; from facestream.pipeline.cli import main; sys.exit(main())"
ROOT = Path(__file__).parents[3]
PORTRAIT = Path(facestream.pipeline.detection.portraits.__file__).parent / "astronaut.jpg"


def test_an_assistant_asks(tmp_path: Path) -> None:
    database, photos = tmp_path / "house.db", tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PORTRAIT, photos / "visitor.jpg")
    (photos / "link.jpg").symlink_to(PORTRAIT)
    first = appeared(source="door")
    with Sightings(database, create="if_missing") as store:
        writer = SightingWriter(store)
        for event in (first, left(first)):
            writer.event(event, pace="waits")
        writer.close()
    config = tmp_path / "house.toml"
    config.write_text('[cameras.hall]\nurl = "rtsp://admin:secret@10.0.0.5/1"\n')
    arguments = ["--db", str(database), "--config", str(config), "--photos", str(photos)]
    server = mcp.StdioServerParameters(
        command=sys.executable, args=["-c", _START, "mcp", *arguments], cwd=ROOT
    )
    before = database.read_bytes()

    async def ask() -> dict[str, Any]:
        async with mcp.Client(server) as client:
            tools = (await client.list_tools()).tools
            assert {one.name for one in tools} == {"who", "search", "why", "cameras"}
            assert all(one.annotations.read_only_hint for one in tools)

            async def call(tool: str, **arguments: Any) -> Any:
                done = await client.call_tool(tool, arguments)
                [text] = [part.text for part in done.content]
                return text if done.is_error else json.loads(text)

            who = await call("who", since="2020-01-01", camera="door")
            return {
                "who": who,
                "nobody": await call("who", name="Ada"),
                "wrong": await call("who", since="soon"),
                "why": await call("why", sighting=who["sightings"][0]["id"]),
                "cameras": await call("cameras"),
                "search": await call("search", photo=str(photos / "visitor.jpg")),
                "outside": await call("search", photo=str(PORTRAIT)),
                "link": await call("search", photo=str(photos / "link.jpg")),
                "up": await call("search", photo=f"{photos}/../house.db"),
            }

    said = asyncio.run(asyncio.wait_for(ask(), 120))
    [one] = said["who"]["sightings"]
    assert (one["where"], one["name"], said["who"]["all"]) == ("door", "unknown", 1)
    assert first.sighting.startswith(one["id"])
    assert said["nobody"] == {"sightings": [], "all": 0}
    assert "is no time" in said["wrong"]
    assert said["why"]["why"]
    named = {one["name"]: one for one in said["cameras"]["cameras"]}
    assert named["hall"] == {"name": "hall", "address": "rtsp://10.0.0.5", "last_seen": None}
    assert named["door"]["last_seen"]
    assert said["search"]["hits"] == []
    for outside in ("outside", "link", "up"):
        assert "allowed folders" in said[outside]
    assert database.read_bytes() == before
