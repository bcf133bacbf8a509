"""`/docs` and `/redoc` in a browser: they show the API and need nothing from the internet."""

from urllib.parse import urljoin

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import WAIT_MS
from tests.support.client import PASSWORD, App

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def opened(browser: Browser, url: str) -> tuple[Page, list[str]]:
    """Open a page, and record its errors and its requests to other hosts."""
    page = await browser.new_page()
    page.set_default_timeout(WAIT_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    origin = urljoin(url, "/")
    page.on(
        "response",
        lambda answer: None if answer.url.startswith((origin, "data:", "blob:")) else wrong.append(answer.url),
    )
    await page.goto(url)
    return page, wrong


async def log_in(page: Page, name: str) -> None:
    """Log in at `/docs`."""
    await page.get_by_role("button", name="Authorize").click()
    await page.locator("#oauth_username").fill(name)
    await page.locator("#oauth_password").fill(PASSWORD)
    await page.get_by_role("button", name="Apply given OAuth2 credentials").click()
    await page.get_by_role("button", name="Close").first.click()


async def tried(page: Page, name: str) -> Locator:
    """Try an operation of `/docs` as it is, expect success, and return the answer."""
    operation = page.locator(f"#operations-{name}")
    await operation.locator(".opblock-summary").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    await expect(answer.locator(".response-col_status").last).to_contain_text("200")
    return answer


async def test_a_developer_logs_in_at_docs_and_tries_a_request_and_a_message_with_its_example(
    browser: Browser, app: App, alice: str
) -> None:
    await app.register(alice)
    page, wrong = await opened(browser, f"{app.gateway.url}/docs")
    try:
        await log_in(page, alice)
        await expect(await tried(page, "users-me_users_me_get")).to_contain_text(alice)
        await expect(await tried(page, "messages-call_echo")).to_contain_text("anything")
        # Each event is there too, as a webhook.
        await expect(page.get_by_text("A user sent a message.")).to_be_attached()
        assert wrong == []
    finally:
        await page.close()


async def test_a_developer_reads_the_api_at_redoc(browser: Browser, app: App) -> None:
    page, wrong = await opened(browser, f"{app.gateway.url}/redoc")
    try:
        await expect(page.get_by_role("heading", name="json-gateway")).to_be_visible()
        await expect(page.get_by_text("Log in with the OAuth2 password flow")).to_be_attached()
        # The policy prevents the only request to another host.
        assert [line for line in wrong if "logo" not in line] == []
    finally:
        await page.close()
