"""`/docs` and `/redoc` in a browser: they show the API and need nothing from the internet."""

import pytest
from playwright.async_api import Browser, Page, expect

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
    await page.goto(url)
    return page, wrong


async def test_a_developer_logs_in_at_docs_and_tries_a_request(browser: Browser, app: App, alice: str) -> None:
    await app.register(alice)
    page, wrong = await opened(browser, f"{app.gateway.url}/docs")
    try:
        await page.get_by_role("button", name="Authorize").click()
        await page.locator("#oauth_username").fill(alice)
        await page.locator("#oauth_password").fill(PASSWORD)
        await page.locator(".auth-btn-wrapper .authorize").click()
        await page.get_by_role("button", name="Close").first.click()
        operation = page.locator("#operations-users-me_users_me_get")
        await operation.locator(".opblock-summary").click()
        await operation.get_by_role("button", name="Try it out").click()
        await operation.get_by_role("button", name="Execute").click()
        await expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        await expect(operation.locator(".live-responses-table")).to_contain_text(alice)
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
