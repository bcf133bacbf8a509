"""The page of messages in a browser, of an application with hostile texts, attached below a prefix."""

from collections.abc import Iterator
from typing import Literal

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect

from gateway import attach
from gateway.testing import settings_for_tests
from gateway.testing.server import serving
from tests.browser.conftest import WAIT_MS
from tests.support.client import PASSWORD
from tests.support.own_types import OWN

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway inside another application."""
    host = FastAPI()
    attach(host, "/rt", settings_for_tests(tmp_path_factory.mktemp("reference")), registry=OWN)
    with serving(uvicorn.Config(host, log_config=None)) as running:
        yield f"http://{running.host}:{running.port}/rt"


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LIGHTNESS = """() => {
    const { backgroundColor, color } = getComputedStyle(document.body);
    const lightness = (css) => css.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
    return [lightness(backgroundColor), lightness(color)];
}"""
"""How light the ground and the text of a page are, from 0 to 255."""


async def opened(browser: Browser, url: str, width: int = 1440) -> tuple[Page, list[str]]:
    """Open a page, and record its errors, its dialogs and its requests to other hosts."""
    context = await browser.new_context(viewport={"width": width, "height": 900})
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda asked: None if asked.url.startswith(url.partition("/rt")[0]) else wrong.append(asked.url))
    await page.goto(url)
    return page, wrong


async def test_a_developer_searches_copies_and_tries_a_message_in_the_console(browser: Browser, address: str) -> None:
    page, wrong = await opened(browser, f"{address}/docs/messages")
    try:
        contents = page.get_by_role("navigation", name="Contents")
        await page.keyboard.press("/")
        await page.keyboard.type("sides roll")
        await expect(contents.get_by_role("link")).to_have_text(["↑dice.roll"])
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{address}/docs/messages#message-dice.roll")
        await expect(contents.locator("[aria-current]")).to_have_text("↑dice.roll")
        entry = page.locator("[id='message-dice.roll']")
        await expect(entry.get_by_role("link", name="Where this is from")).to_be_visible()
        card = entry.locator(".card").first
        await card.get_by_role("tab", name="Python").click()
        await card.get_by_role("button", name="Copy").click()
        await expect(card.get_by_role("button", name="Copied")).to_be_visible()
        assert await page.evaluate("navigator.clipboard.readText()") == (
            "reply = await gateway.call('dice.roll', {'sides': 6})"
        )
        # The language stays for the other messages, and for the next visit.
        await page.reload()
        await expect(page.locator("[id='message-ping'] pre:visible").first).to_contain_text("await gateway.call('ping'")
        await contents.get_by_role("searchbox").fill("no such word")
        await expect(contents.get_by_text("Nothing has these words.")).to_be_visible()
        await contents.get_by_role("searchbox").fill("4410")
        await expect(contents.get_by_role("link")).to_have_text(["Close codes"])
        await entry.get_by_role("link", name="Try it").click()
        await expect(page).to_have_url(f"{address}/#try=dice.roll")
        await page.get_by_label("User name").fill("reader")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Register").click()
        frame = page.get_by_label("Frame to send")
        await expect(frame).to_be_focused()
        await expect(frame).to_have_value('{"type":"dice.roll","id":"1","data":{"sides":6}}')
        await page.evaluate("location.hash = '#try=' + encodeURIComponent('</script>.<b>')")
        await expect(page.get_by_label("Example")).to_have_value("</script>.<b>")
        assert wrong == []
    finally:
        await page.context.close()


async def test_it_is_readable_on_a_phone_and_without_a_script(browser: Browser, address: str) -> None:
    page, wrong = await opened(browser, f"{address}/docs/messages", width=360)
    try:
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        contents = page.locator("#contents")
        await expect(contents).to_be_hidden()
        await page.get_by_role("button", name="Contents").click()
        await contents.get_by_role("link", name="chat.send").click()
        await expect(contents).to_be_hidden()
        await expect(page.locator("[id='message-chat.send'] h3")).to_be_in_viewport()
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            ground, ink = await page.evaluate(LIGHTNESS)
            assert (ground > 200 and ink < 60) if scheme == "light" else (ground < 60 and ink > 200), scheme
        assert wrong == []
    finally:
        await page.context.close()
    plain = await browser.new_context(java_script_enabled=False)
    try:
        page = await plain.new_page()
        await page.goto(f"{address}/docs/messages#event-%7E3C%2Fscript%7E3E")
        await expect(page.locator("[id='message-chat.send'] pre").first).to_contain_text('"type": "chat.send"')
        await expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    finally:
        await plain.close()
