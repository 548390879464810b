"""Cameras in a browser: one is added by its address, seen, masked and removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")
from facestream.pipeline.access.users import add_user
from facestream.pipeline.server.serving import ServiceServer

from tests.pipeline.server.conftest import FREE, PASSWORD
from tests.pipeline.server.test_camera_routes import camera, settings_of
from tests.pipeline.server.test_page_journey import Watched, barriers, chromium, pytestmark
from tests.waiting import wait_until

__all__ = ["camera", "chromium", "pytestmark"]  # fixtures, and where they can run

NAME = "door <b>"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceServer]:
    with ServiceServer(settings_of(tmp_path_factory.mktemp("cameras")), FREE) as made:
        yield made


def test_areas_fit_the_picture_and_are_never_saved_unread(  # type: ignore[no-untyped-def]
    house: ServiceServer, chromium, camera: tuple[str, list[str]]
) -> None:
    mask = [[(0.0, 0.0), (0.2, 0.0), (0.2, 0.2)]]
    house.service.configuration.add_camera("hall", {"url": f"{camera[0]}/snap.jpg", "mask": mask})
    tab = Watched(chromium, house, wide=False)
    page = tab.page

    _, wide = cv2.imencode(".jpg", np.zeros((90, 160, 3), np.uint8))
    answers = [{"status": 204}, {"content_type": "image/jpeg", "body": wide.tobytes()}]
    page.route("**/live/hall/picture", lambda route: route.fulfill(**answers.pop(0)))  # type: ignore[arg-type]
    page.goto("/live/hall", wait_until="commit")
    page.locator(".scene:not(.waiting)").wait_for()  # the first answer had no picture
    page.locator(".handle").first.wait_for()
    sizes = [page.locator(f".scene > {one}").bounding_box() for one in ("img", "svg")]
    assert sizes[0] is not None
    assert sizes[0] == pytest.approx(sizes[1], abs=1)
    assert sizes[0]["height"] < 192
    tab.check()

    page.route(
        "**/hall/settings", lambda route: route.fulfill(status=503, body='{"detail": "busy"}')
    )
    answers += [{"status": 204}] * 50
    page.goto("/live/hall", wait_until="commit")
    page.get_by_text("busy", exact=True).wait_for()
    assert page.get_by_role("button", name="Save").is_disabled()
    house.service.configuration.remove_camera("hall")


def test_a_camera_is_added_and_removed(  # type: ignore[no-untyped-def]
    house: ServiceServer, chromium, camera: tuple[str, list[str]]
) -> None:
    tab = Watched(chromium, house)
    page = tab.page
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/live")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Address").fill(f"{camera[0]}/snap.jpg")
    page.get_by_role("button", name="Show a picture first").click()
    page.get_by_text("A picture came:").wait_for()
    assert page.get_by_alt_text("Picture of the address").is_visible()
    assert barriers(page) == []
    page.get_by_role("button", name="Add", exact=True).click()
    tile = page.locator(".tile", has_text=NAME)
    tile.locator("img").wait_for()
    tab.check()

    tile.get_by_role("link").click(no_wait_after=True)
    page.get_by_role("heading", name=NAME).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop").wait_for()

    page.get_by_text("s old").wait_for()
    scene = page.locator(".scene")
    scene.scroll_into_view_if_needed()
    box = scene.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.up()
    page.keyboard.press("Shift+ArrowLeft")  # its first point
    page.get_by_role("button", name="Add an area").click()
    page.get_by_role("button", name="Undo").click()
    assert barriers(page) == []
    since = datetime.now(UTC)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved;").wait_for()
    cameras = house.service.cameras
    wait_until(lambda: NAME in cameras.states and cameras.states[NAME].utc > since)
    number = cameras.view(NAME).number
    wait_until(lambda: cameras.view(NAME).number > number + 2)  # the cameras of now are searched
    (mask,) = house.service.cameras.settings_of(NAME).mask
    wanted = [(0.2, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5)]
    assert [tuple(one) for one in mask] == [pytest.approx(one, abs=0.01) for one in wanted]

    add_user(house.service.sightings, "ada", PASSWORD, role="viewer")  # from now on all log in
    add_user(house.service.sightings, "root", PASSWORD, role="admin")
    for user, may in (("ada", False), ("root", True)):
        page.goto("/log-in")
        page.get_by_label("Name").fill(user)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Log out").wait_for()
        page.goto("/live")
        tile.wait_for()
        assert (page.get_by_text("Add a camera").count() > 0) is may
        tile.get_by_role("link").click(no_wait_after=True)
        page.get_by_role("heading", name=NAME).wait_for()
        assert page.get_by_role("button", name="Stop").count() == may
        assert page.get_by_role("button", name="Remove").count() == may
        assert page.get_by_role("heading", name="Areas").count() == may
        if not may:
            page.get_by_role("button", name="Log out").click()
            page.get_by_role("heading", name="Log in").wait_for()
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("There is no camera yet").wait_for()
