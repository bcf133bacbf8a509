"""The downloads of exports: the gateway's own address in them, one file as itself and several as a zip."""

import io
import json
import re
import secrets
from pathlib import Path
from zipfile import ZipFile

import httpx2

from gateway.documents.exports import FORMATS
from gateway.testing import StartGateway
from tests.support.client import NO_AUTHORITIES, App


async def test_each_format_can_be_had(app: App) -> None:
    for name in FORMATS:
        answer = await app.http.get(f"/docs/export/{name}")
        assert answer.status_code == 200, (name, answer.text)
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="')
        if answer.headers["Content-Type"] == "application/zip":
            assert f'"json-gateway-{name}.zip"' in answer.headers["Content-Disposition"]
            with ZipFile(io.BytesIO(answer.content)) as archive:
                assert len(archive.namelist()) > 1
                texts = [archive.read(each).decode() for each in archive.namelist()]
        else:
            texts = [answer.text]
        assert (await app.http.get(f"/docs/export/{name}")).content == answer.content  # the same each time
        assert not any("127.0.0.1:8000" in text for text in texts), name


async def test_a_document_names_the_gateway_where_it_was_asked(app: App) -> None:
    answer = await app.http.get("/docs/export/openapi")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.text)["servers"] == [{"url": str(app.http.base_url).rstrip("/")}]
    named = await app.http.get("/docs/export/openapi", headers={"Host": "example.com:81"})
    assert named.json()["servers"] == [{"url": "http://example.com:81"}]
    assert "{{" not in (await app.http.get("/docs/export/openapi", headers={"Host": 'example.com"{{'})).text


async def test_an_unknown_format_is_answered_with_the_known_ones(app: App) -> None:
    for name in ("soap", "openapi.json", "..%2fexports"):
        refused = await app.http.get(f"/docs/export/{name}")
        assert refused.status_code == 404
    assert "openapi" in (await app.http.get("/docs/export/soap")).json()["message"]


async def test_there_are_none_in_production(start_gateway: StartGateway) -> None:
    gateway = start_gateway(environment="production", password_rounds=10, secret_key=secrets.token_urlsafe(40))
    async with httpx2.AsyncClient(base_url=gateway.url, verify=NO_AUTHORITIES) as http:
        assert (await http.get("/docs/export/openapi")).status_code == 404


def test_the_page_about_exports_has_each_format() -> None:
    page = (Path(__file__).parents[3] / "docs/exports.md").read_text()
    for name, format in FORMATS.items():
        (line,) = re.findall(rf"^\| `gateway export {name}` \|(.*)\|$", page, re.MULTILINE)
        assert ("experimental" in line) == format.experimental, name
