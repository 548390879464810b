"""The page in a browser: from an empty database to a name, on a phone, for screen readers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi")
from facestream.pipeline.access.users import add_user
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.server.serving import ServiceServer

from benchmarks.page_pictures import CHROMIUM, see, varied
from tests.pipeline.server.conftest import FREE, PASSWORD, PORTRAITS, settings_for

sync_api = pytest.importorskip("playwright.sync_api")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

AXE = Path(__file__).parent / "axe" / "axe.min.js"
VIEWS = ("/", "/people", "/people/1", "/unknown", "/search", "/live", "/system")
KNOWN, OTHER = "Eileen Collins", "Grace Hopper"
CAMERA = "gate"

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists() and "REQUIRE_SERVERS" not in os.environ,
    reason=f"{CHROMIUM} is missing: install Debian's package chromium (make servers)",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceServer]:
    camera = {"url": "http://127.0.0.1:9/none.mjpg"}  # nobody listens there
    database = tmp_path_factory.mktemp("page") / "house.db"
    with ServiceServer(settings_for(database, cameras={CAMERA: camera}), FREE) as made:
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Watched:
    """A tab, with what went wrong in it and which hosts it asked."""

    def __init__(self, browser: Browser, server: ServiceServer, *, wide: bool = True) -> None:
        size = {"width": 1280, "height": 800} if wide else {"width": 360, "height": 740}
        context = browser.new_context(base_url=server.url, viewport=size, locale="en-GB")  # type: ignore[arg-type]
        self.page: Page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("request", lambda one: self.hosts.add(urlsplit(one.url).netloc))
        self.own = urlsplit(server.url).netloc

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def check(self) -> None:
        assert self.problems == []
        assert self.hosts - {""} == {self.own}  # blob: has none


def barriers(page: Page) -> list[str]:
    """What axe-core calls serious or critical."""
    page.evaluate(AXE.read_text(encoding="utf-8") + ";undefined")
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    assert len(found["passes"]) > 10
    return [
        f"{page.url}: {one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_the_whole_way(server: ServiceServer, chromium: Browser) -> None:
    tab = Watched(chromium, server)
    page, service = tab.page, server.service
    known, other = (one.image for one in portraits())

    page.goto("/")  # empty: it says what to do
    page.get_by_role("link", name="People").last.click()
    page.get_by_label("Name").last.fill(KNOWN)
    page.locator("#verdicts").locator("xpath=..").locator("input[type=file]").set_input_files(
        [PORTRAITS / "astronaut.jpg", PORTRAITS / "NOTICE.md"]
    )
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text(f"1 photo of {KNOWN} was added.").wait_for()
    assert "NOTICE.md" in (page.locator(".verdicts .problem").text_content() or "")

    service.refresh()
    now = datetime.now(UTC)
    for days, image in ((0, known), (1, other), (2, other)):
        see(service, varied(image, days + 10), now - timedelta(days=days))
    page.goto("/")
    page.locator(".card", has_text=KNOWN).wait_for()
    assert page.locator(".card", has_text="Unknown").count() == 2

    page.goto("/unknown")  # by keyboard alone
    assert barriers(page) == []
    page.keyboard.press("ArrowRight")
    page.keyboard.type(OTHER)
    page.keyboard.press("Enter")
    page.get_by_text(f"2 sightings are {OTHER} now").wait_for()
    page.locator(".cluster").wait_for(state="detached")
    page.keyboard.press("u")
    page.get_by_text("Undone:").wait_for()
    page.locator(".cluster").wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.type(OTHER)
    page.keyboard.press("Enter")
    page.get_by_text(f"2 sightings are {OTHER} now").wait_for()

    page.goto(f"/?person={OTHER}")  # found in the past
    assert page.locator(".card").count() == 2

    page.goto("/")  # two clicks
    page.locator(".card", has_text=KNOWN).click()
    page.get_by_role("button", name=f"This is not {KNOWN}").click()
    page.locator("dialog .good").wait_for()
    page.locator("dialog").get_by_role("heading", name="Unknown").wait_for()
    page.locator("dialog").get_by_role("button", name="Undo").click()
    page.get_by_text("Undone:").wait_for()
    page.locator(".card", has_text=KNOWN).wait_for()

    page.goto("/search")
    page.locator("input[type=file]").set_input_files(PORTRAITS / "hopper.jpg")
    page.get_by_text("2 of 3 sightings resemble it").wait_for()
    tab.check()


def test_no_view_has_barriers(server: ServiceServer, chromium: Browser) -> None:
    tab = Watched(chromium, server, wide=False)
    found = []
    for path in VIEWS:
        tab.page.goto(path)
        tab.page.wait_for_load_state("load")
        found += barriers(tab.page)
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert tab.page.evaluate(wider) <= 0, f"{path} is wider than a phone"
    tab.page.emulate_media(color_scheme="dark")
    for path in ("/", "/unknown"):
        tab.page.goto(path)
        found += barriers(tab.page)
    tab.page.goto("/")
    tab.page.locator(".card").first.click()
    tab.page.locator("dialog h2").wait_for()
    found += barriers(tab.page)
    assert found == []
    tab.check()


def test_a_camera_without_a_picture(server: ServiceServer, chromium: Browser) -> None:
    tab = Watched(chromium, server)
    tab.page.goto("/live")
    tile = tab.page.locator(".tile", has_text=CAMERA)
    tile.get_by_text("tries again").or_(tile.get_by_text("failed")).wait_for()
    tab.check()
    tile.get_by_role("link").click()
    tab.page.get_by_role("heading", name=CAMERA).wait_for()


def test_language_theme_and_a_viewer(server: ServiceServer, chromium: Browser) -> None:
    tab = Watched(chromium, server)
    page = tab.page
    page.goto("/people")
    page.get_by_label("Language").select_option("de")
    page.get_by_role("heading", name="Personen").wait_for()
    page.get_by_role("button", name="Hell oder dunkel").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_label("Sprache").select_option("en")
    page.get_by_role("heading", name="People").wait_for()
    tab.check()

    add_user(server.service.sightings, "ada", PASSWORD, role="viewer")  # from now on all log in
    page.goto("/system/access")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="You may not see this").wait_for()
    page.goto("/people")
    assert page.get_by_text("Add a person").count() == 0
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    assert barriers(page) == []
