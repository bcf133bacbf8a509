"""Forms as curl, browsers, phones and old programs send them."""

import asyncio
from urllib.parse import quote, quote_plus

import pytest

from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.lacking import program

PASSWORD = "Müller-Straße-17 + 5 €?&="
LATIN = "Müller-Straße-17"

FORM = "application/x-www-form-urlencoded"

WRITTEN: dict[str, tuple[str, bytes]] = {
    "percent-encoded UTF-8": (PASSWORD, quote_plus(PASSWORD).encode()),
    "raw UTF-8": (LATIN, LATIN.encode()),
    "raw and percent-encoded UTF-8": (LATIN, b"M\xc3\xbcller%2DStra%C3%9Fe-17"),
    "half a character raw and half encoded": (LATIN, b"M\xc3%BCller-Stra%C3\x9fe-17"),
    "raw Latin-1": (LATIN, LATIN.encode("latin-1")),
    "percent-encoded Latin-1": (LATIN, quote(LATIN, encoding="latin-1").encode()),
    "raw and percent-encoded Latin-1": (LATIN, b"M%FCller-Stra\xdfe-17"),
    "Windows-1252": ("fünf € bitte", "fünf+€+bitte".encode("windows-1252")),
    "a plus for a space, and a space as it is": ("correct horse battery", b"correct+horse battery"),
    "a plus that is one": ("1 + 1 = 2 plus", b"1+%2B+1+=+2+plus"),
    "a percent sign that encodes nothing": ("100% secret", b"100%+secret"),
    "an emoji": ("😀😀😀", "😀😀😀".encode()),
}


def form(name: str, password: bytes) -> bytes:
    return b"username=%b&password=%b" % (name.encode(), password)


@pytest.mark.parametrize("kind", [FORM, f"{FORM}; charset=UTF-8", f"{FORM};charset=iso-8859-1", FORM.upper()])
@pytest.mark.parametrize("how", WRITTEN)
async def test_a_password_is_understood_however_a_form_writes_it(app: App, alice: str, how: str, kind: str) -> None:
    password, written = WRITTEN[how]
    assert (await app.register(alice, password)).status_code == 201
    answer = await app.http.post("/token", content=form(alice, written), headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text


async def test_the_line_of_the_readme_logs_in_with_any_password(app: App, alice: str) -> None:
    await app.register(alice, LATIN)
    command = [program("curl"), "-s", f"{app.gateway.url}/token", "-d", f"username={alice}", "-d", f"password={LATIN}"]
    curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await asyncio.wait_for(curl.communicate(), 10)
    assert b'"access_token"' in printed


async def test_a_multipart_form_is_read_as_utf_8(app: App, alice: str) -> None:
    await app.register(alice, LATIN)
    answer = await app.http.post("/token", files={"username": (None, alice), "password": (None, LATIN)})
    assert answer.status_code == 200


MIXED = [b"M\xc3\xbcller-Stra\xdfe-17", b"M%C3%BCller-Stra%DFe-17", b"\xff\xfe\xfd-17-17", b"%00%00%00%00%00%00%00%00"]


@pytest.mark.parametrize("written", MIXED)
async def test_a_password_in_two_encodings_at_once_is_a_wrong_one(app: App, alice: str, written: bytes) -> None:
    await app.register(alice, LATIN)
    answer = await app.http.post("/token", content=form(alice, written), headers={"Content-Type": FORM})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")


@pytest.mark.parametrize("path", ["/token", "/token/revoke", "/token/introspect"])
@pytest.mark.parametrize("written", [b"\x81\x8d", b"%81%8D%8F", b"%C3%BC%9D"])
async def test_what_is_text_in_neither_encoding_is_refused(own_gateway: OwnGateway, path: str, written: bytes) -> None:
    async with App(own_gateway()) as app:
        token = await app.token("alice")
        headers = {"Content-Type": FORM, "Authorization": f"Bearer {token}"}
        for body in (b"token=" + written, written + b"=1&token=x", b"username=alice&password=" + written):
            answer = await app.http.post(path, content=body, headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (400, 40000)
            assert answer.json()["message"] == "expected a form in UTF-8"


async def test_every_form_is_read_alike(app: App, alice: str) -> None:
    grant = await app.grant(alice)
    headers = {"Content-Type": FORM}
    written = "".join(f"%{ord(each):02X}" for each in grant["refresh_token"]).encode()
    revoked = await app.http.post("/token/revoke", content=b"token=" + written, headers=headers)
    assert (revoked.status_code, revoked.content) == (200, b"")
    assert (await app.refresh(grant["refresh_token"])).status_code == 401


async def test_too_many_fields_are_refused(app: App) -> None:
    answer = await app.http.post("/token", content=b"&".join([b"a=1"] * 1001), headers={"Content-Type": FORM})
    assert (answer.status_code, answer.json()["status"]) == (400, 40000)
