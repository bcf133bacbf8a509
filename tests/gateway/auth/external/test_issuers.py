"""External issuers of tokens: the gateway trusts what their keys have signed, but not lies, and survives failures."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import IPAddress
from sqlalchemy import Connection

from gateway.auth import groups, room_rights
from gateway.auth.room_rights import RoomRights
from gateway.core.folding import FoldedLog
from gateway.store import users
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.auth.forging import ec_signer, edwards_signer, encode, hmac_signer, pss_signer, rsa_signer
from tests.support.certificate import certificate
from tests.support.client import App, ChatClient
from tests.support.issuer import FakeService, encoded, running_service
from tests.support.waiting import until

DAY = 24 * 3600
SHARED = "VSqfKiXT7MEkMOsNzmZQkWdX4sPG-w7_"
ROOMS = ("team-red", "team-red", "lobby")

first, second = ec_signer("first"), rsa_signer("second")
other_rsa = rsa_signer("x")


@pytest.fixture
def issuer() -> Iterator[FakeService]:
    with running_service() as service:
        service.keys = [first.jwk()]
        yield service


Start = Callable[..., Gateway]


@pytest.fixture
def start(own_gateway: OwnGateway, issuer: FakeService) -> Start:
    """Start a gateway that accepts the issuer's tokens: `start(scopes=…, any=gateway setting)`."""

    def start(settings: dict[str, Any] | None = None, **described: Any) -> Gateway:
        trusted = {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{issuer.url}/keys"} | described
        return own_gateway(issuers={"acme": trusted}, **(settings or {}))

    return start


@asynccontextmanager
async def entering(app: App, token: str) -> AsyncIterator[ChatClient]:
    async with app.socket(f"?service=acme&token={token}") as client:
        yield client


async def welcomed(app: App, token: str) -> dict[str, Any]:
    async with entering(app, token) as client:
        return await client.expect("welcome")


async def refused(app: App, token: str, status: int = 40001, close: tuple[int, str] | None = None) -> str:
    """Be refused, and return the message."""
    async with entering(app, token) as client:
        error = await client.expect("error", id=None, status=status)
        await client.expect("bye")
        await client.expect_close(*(close or (1008, "authentication_failed")))
        message: str = error["message"]
        return message


async def told_to_come_back(app: App, token: str) -> None:
    """Be refused for now: it is unknown whether the token is valid."""
    message = await refused(app, token, 50300, (1013, "overloaded"))
    assert message == "the service `acme` cannot be asked for now; try again"


# ---- users that come in ----


async def test_a_user_of_an_outside_issuer_talks_with_our_own(start: Start, issuer: FakeService) -> None:
    async with App(start()) as app, app.in_room("alice", "lobby") as alice:
        async with entering(app, issuer.token(first)) as carol:
            welcome = await carol.expect("welcome", user="carol")
            assert welcome["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
            await carol.ask("room.join", room="lobby")
            await alice.expect("room.joined", user="carol")
            await carol.say("lobby", "Hello!")
            await alice.expect("chat.message", sender="carol", text="Hello!")
        async with entering(app, issuer.token(first, scope="x", sid="another")) as carol:  # the same user, again
            await carol.expect("welcome", user="carol")
            history = await carol.ask("chat.history", room="lobby")
            assert [message["sender"] for message in history["messages"]] == ["carol"]


async def test_the_token_of_a_service_is_good_for_that_service_alone(start: Start, issuer: FakeService) -> None:
    async with App(start()) as app:
        own = await app.token("alice")
        await refused(app, own)
        async with app.socket(f"?token={issuer.token(first)}") as client:
            await client.expect("error", status=40001)
        assert (await app.http.get("/users/me", headers={"Authorization": f"Bearer {own}"})).status_code == 200


async def test_scopes_are_what_the_settings_make_of_those_in_the_token(start: Start, issuer: FakeService) -> None:
    scopes = {"talk": ["chat:read", "chat:write"], "boss": ["admin"]}
    async with App(start(scopes=scopes, scope_claim=["realm_access", "roles"])) as app:
        welcome = await welcomed(app, issuer.token(first, realm_access={"roles": ["talk", "boss", "admin", 7]}))
        assert welcome["scopes"] == ["admin", "chat:read", "chat:write"]
        for claims in ({}, {"realm_access": "talk boss"}, {"realm_access": {"roles": {"talk": 1}}}, {"scope": "admin"}):
            assert (await welcomed(app, issuer.token(first, **claims)))["scopes"] == []


ROOM_CLAIMS: list[tuple[dict[str, Any], list[int]]] = [
    ({"chat": {"rooms": {"team-*": ["join", "send", "create"]}}}, [20000, 20000, 40300]),
    ({"chat": {"rooms": {"*": ["join", "create"]}}}, [20000, 40300, 20000]),
    ({"chat": {"rooms": {"**": ["join", "send", "create"]}}}, [40300, 40300, 40300]),
    ({"chat": {"rooms": {"*": ["join", "admin"]}}}, [40300, 40300, 40300]),
    ({"chat": {"rooms": {}}}, [40300, 40300, 40300]),
    ({"chat": {"rooms": None}}, [40300, 40300, 40300]),
    ({"chat": "team-*"}, [40300, 40300, 40300]),
    ({"rooms": {"*": ["join", "send", "create"]}}, [40300, 40300, 40300]),
    ({}, [40300, 40300, 40300]),
]


@pytest.mark.parametrize(("claims", "statuses"), ROOM_CLAIMS)
async def test_a_claim_of_the_issuer_names_the_rooms_and_an_unreadable_one_opens_none(
    start: Start,
    issuer: FakeService,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, Any],
    statuses: list[int],
) -> None:
    log = FoldedLog(room_rights.logger, logging.WARNING, same=1)
    monkeypatch.setattr(room_rights, "_log", log)
    token = issuer.token(first, **claims)
    async with App(start(rooms_claim=["chat", "rooms"])) as app:
        bought = await app.ask("POST", "/ws/ticket?service=acme", token)
        for query in (f"?service=acme&token={token}", f"?ticket={bought.json()['ticket']}"):
            async with app.socket(query) as carol:
                await carol.expect("welcome")
                for type, room, status in zip(("room.join", "chat.send", "room.join"), ROOMS, statuses, strict=True):
                    data = {"text": "Hello!"} if type == "chat.send" else {}
                    number = await carol.start(type, room=room, **data)
                    assert (await carol.until(id=number))["status"] == status, (type, query)
    lines = [line for line in caplog.messages if "claim about rooms" in line]
    assert len(lines) == (1 if statuses == [40300] * 3 and claims != {"chat": {"rooms": {}}} else 0)
    assert "admin" not in "".join(lines)


async def test_a_group_adds_rooms_to_those_of_the_issuer(start: Start, issuer: FakeService) -> None:
    gateway = start(rooms_claim="rooms")
    token = issuer.token(first, rooms={"team-*": ["join", "create"]})
    async with App(gateway) as app:
        await welcomed(app, token)

        def grant(connection: Connection) -> None:
            carol = users.by_name(connection, "carol")
            assert carol is not None
            groups.set_rights(connection, "guests", RoomRights.parse({"lobby": ["join", "create"]}))
            groups.join(connection, carol.id, ["guests"])

        await gateway.run(gateway.state.database.transact(grant))
        async with entering(app, token) as carol:
            await carol.expect("welcome")
            for room in ("team-red", "lobby"):
                await carol.ask("room.join", room=room)
            assert (await carol.refused("room.join", room="other"))["status"] == 40300


async def test_nobody_becomes_another_by_a_name_in_a_token(start: Start, issuer: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        await app.register("alice")
        headers = {"Authorization": f"Bearer {await app.token('alice')}"}
        own_id = (await app.http.get("/users/me", headers=headers)).json()["id"]
        message = await refused(app, issuer.token(first, preferred_username="alice"))
        assert message == "the user name `alice` is taken here by another user; ask the operator of this gateway"
        # Not even with the id of one of the gateway's own users as a name.
        assert (await welcomed(app, issuer.token(first, sub=own_id)))["user"] == "carol"
        # And the first of the issuer's own users with that name has it.
        message = await refused(app, issuer.token(first, sub="user|8"))
        assert message.startswith("the user name `carol` is taken")


async def test_a_user_that_cannot_be_named_is_told_why(start: Start, issuer: FakeService) -> None:
    async with App(start()) as app:
        for missing in (..., 7, None, ["carol"], ""):
            message = await refused(app, issuer.token(first, preferred_username=missing))
            assert message == "the token has no `preferred_username`, which is to be the user name here"


async def test_a_text_that_is_no_name_becomes_one_of_its_own_user(start: Start, issuer: FakeService) -> None:
    async with App(start(user_claim="sub")) as app:
        names = {}
        for subject in ("auth0|6553da60a54af58e29493993", "Carol", "carol", "carol+1@example.com", "carol@example.com"):
            token = issuer.token(first, sub=subject)
            names[subject] = (await welcomed(app, token))["user"]
            assert (await welcomed(app, token))["user"] == names[subject]
        assert len(set(names.values())) == len(names)
        assert (names["carol"], names["carol@example.com"]) == ("carol", "carol_example.com")
        assert names["auth0|6553da60a54af58e29493993"].startswith("auth0-6553da60a-")


async def test_an_email_address_is_a_name_with_an_underscore_for_its_sign(start: Start, issuer: FakeService) -> None:
    async with App(start(user_claim="email")) as app:
        carol = issuer.token(first, email="Carol@Example.com")
        assert (await welcomed(app, carol))["user"] == "carol_example.com"
        message = await refused(app, issuer.token(first, sub="user|8", email="carol@example.com"))
        assert message.startswith("the user name `carol_example.com` is taken")
        said: list[dict[str, Any]] = [{"email_verified": value} for value in (False, "false", "False", 0, None, "no")]
        for unverified in (*said, {"emailVerified": False}, {"email_verified": True, "emailVerified": False}):
            token = issuer.token(first, sub="user|9", email="dave@example.com", **unverified)
            assert (await refused(app, token)).startswith("the token's `email` is not verified")


async def test_an_unverified_address_makes_no_user_of_another(start: Start, issuer: FakeService) -> None:
    async with App(start(subject_claim="email", user_claim="email")) as app:
        carol = issuer.token(first, email="carol@example.com", email_verified=True)
        assert (await welcomed(app, carol))["user"] == "carol_example.com"
        claims: list[dict[str, Any]] = [{}, {"email_verified": False}, {"email_verified": "yes"}]
        for unverified in claims:
            message = await refused(app, issuer.token(first, sub="user|8", email="carol@example.com", **unverified))
            assert message.startswith("the token is not valid for this service")


async def test_names_can_be_made_up_and_capitals_do_not_matter(start: Start, issuer: FakeService) -> None:
    async with App(start(user_claim=None)) as app:
        made_up = (await welcomed(app, issuer.token(first)))["user"]
        assert made_up.startswith("acme-")
        assert (await welcomed(app, issuer.token(first)))["user"] == made_up
        assert (await welcomed(app, issuer.token(first, sub="user|8")))["user"] != made_up


async def test_ten_first_connections_at_once_are_one_user(start: Start, issuer: FakeService) -> None:
    async with App(start()) as app:
        token = issuer.token(first, preferred_username="Carol")
        welcomes = await asyncio.gather(*(welcomed(app, token) for _ in range(10)))
        assert {welcome["user"] for welcome in welcomes} == {"carol"}


async def test_a_disabled_external_user_stays_out_and_has_no_password(start: Start, issuer: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        token = issuer.token(first)
        await welcomed(app, token)
        for password in ("", "password", "carol"):
            assert (await app.log_in("carol", password)).status_code in {401, 422}
        disable = partial(users.set_disabled, name="carol", disabled_at=1)
        await gateway.run(gateway.state.database.transact(disable))
        await refused(app, token, 40102, (1008, "token_revoked"))


async def test_a_token_for_years_is_good_for_a_day_at_a_time(start: Start, issuer: FakeService) -> None:
    async with App(start()) as app:
        welcome = await welcomed(app, issuer.token(first, exp=2**53))
        tomorrow = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + DAY))
        assert welcome["token_expires_at"][:16] <= tomorrow


# ---- for this application ----


async def test_without_an_audience_the_client_of_the_token_counts(start: Start, issuer: FakeService) -> None:
    async with App(start(audience=None, client_ids=["web", "phone"])) as app:
        for named in ({"azp": "web"}, {"client_id": "phone"}, {"cid": "web"}, {"azp": "web", "client_id": "other"}):
            await welcomed(app, issuer.token(first, aud=..., **named))
        for wrong in ({}, {"azp": "other"}, {"azp": "other", "client_id": "web"}, {"azp": ["web"]}, {"azp": None}):
            await refused(app, issuer.token(first, aud="web", **wrong))


async def test_an_audience_and_clients_must_both_be_right(start: Start, issuer: FakeService) -> None:
    async with App(start(client_ids=["web"])) as app:
        await welcomed(app, issuer.token(first, azp="web"))
        await refused(app, issuer.token(first, azp="web", aud="other"))
        await refused(app, issuer.token(first, azp="web", aud=...))
        await refused(app, issuer.token(first, azp="other"))


# ---- a shared secret ----


async def test_an_issuer_may_share_a_secret_and_then_has_no_keys(start: Start, issuer: FakeService) -> None:
    shared = hmac_signer("any name", SHARED.encode())
    async with App(start(jwks_url=None, secret=SHARED)) as app:
        await welcomed(app, issuer.token(shared))
        await welcomed(app, shared.sign(issuer.claims(), typ="JWT", kid=...))
        for signer in (hmac_signer("first", SHARED[:-1].encode()), hmac_signer("first", b""), first, second):
            await refused(app, issuer.token(signer))
        for algorithm in ("none", "ES256", "RS256", "HS384", "HS512", None, ["HS256"]):
            await refused(app, shared.sign(issuer.claims(), typ="JWT", alg=algorithm))
        await refused(app, issuer.token(shared, aud="other"))
    assert issuer.asked == []


# ---- algorithms that python-jose lacks ----


async def test_an_issuer_may_sign_with_ed25519_and_ps256(start: Start, issuer: FakeService) -> None:
    edwards, pss = edwards_signer("edwards"), pss_signer("pss")
    small = edwards_signer("small").jwk(x=encode(bytes(32)))
    issuer.keys = [edwards.jwk(), pss.jwk(), small, first.jwk()]
    async with App(start(algorithms=["EdDSA", "PS256"])) as app:
        for token in (
            issuer.token(edwards),
            edwards.sign(issuer.claims(), typ="JWT", alg="Ed25519"),
            issuer.token(pss),
        ):
            await welcomed(app, token)
        for token in (
            issuer.token(first),  # ES256 is not among the accepted ones
            pss.sign(issuer.claims(), typ="JWT", alg="RS256"),
            edwards.sign(issuer.claims(), typ="JWT", kid="pss"),
            pss.sign(issuer.claims(), typ="JWT", kid="edwards"),
            edwards_signer("edwards").sign(issuer.claims(), typ="JWT"),
            hmac_signer("edwards", edwards.public()["PEM"]).sign(issuer.claims(), typ="JWT"),
            hmac_signer("small", b"").sign(issuer.claims(), typ="JWT", alg="EdDSA"),
        ):
            await refused(app, token)


# ---- a key without a name ----


async def test_a_lone_key_needs_no_name(start: Start, issuer: FakeService) -> None:
    issuer.keys = [first.jwk(kid=...), ec_signer("enc").jwk(kid=..., use="enc")]  # of two, one is usable
    async with App(start()) as app:
        nameless = first.sign(issuer.claims(), typ="JWT", kid=...)
        await welcomed(app, nameless)
        await refused(app, issuer.token(first))  # its name is of no key
        await refused(app, first.sign(issuer.claims(), typ="JWT", kid=""))
        await refused(app, ec_signer("x").sign(issuer.claims(), typ="JWT", kid=...))


async def test_of_two_keys_one_without_a_name_counts_for_no_token(start: Start, issuer: FakeService) -> None:
    other = ec_signer("other")
    gateway = start()
    async with App(gateway) as app:
        for number, keys in enumerate(
            ([first.jwk(kid=...), other.jwk(kid=...)], [first.jwk(kid=...), other.jwk()], [first.jwk(), other.jwk()]), 1
        ):
            issuer.keys = keys
            gateway.clock.ahead = 30 * number
            await refused(app, issuer.token(ec_signer("unknown")))  # this makes the gateway fetch the keys again
            for signer in (first, other):
                await refused(app, signer.sign(issuer.claims(), typ="JWT", kid=...))
            assert issuer.times("/keys") == 1 + number
        await welcomed(app, issuer.token(other))


async def test_a_lone_key_is_changed_for_another_one(start: Start, issuer: FakeService) -> None:
    issuer.keys = [first.jwk(kid=...)]
    gateway = start()
    async with App(gateway) as app:
        old, new = (signer.sign(issuer.claims(), typ="JWT", kid=...) for signer in (first, second))
        await welcomed(app, old)
        issuer.keys = [second.jwk(kid=...)]
        await refused(app, new)  # its first keys are seconds old
        gateway.clock.ahead = 30
        await welcomed(app, new)
        await refused(app, old)
        assert issuer.times("/keys") == 2


# ---- keys that come and go ----


async def test_the_issuer_rotates_its_keys(start: Start, issuer: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        await welcomed(app, issuer.token(first))
        issuer.keys = [second.jwk(), first.jwk()]
        gateway.clock.ahead = 30
        await welcomed(app, issuer.token(second))
        assert issuer.times("/keys") == 2
        await welcomed(app, issuer.token(first))
        issuer.keys = [second.jwk()]
        gateway.clock.ahead = 60
        await refused(app, issuer.token(ec_signer("third")))  # an unknown one has the keys fetched again
        await refused(app, issuer.token(first))  # so what was withdrawn is gone
        await welcomed(app, issuer.token(second))
        assert issuer.times("/keys") == 3


async def test_unknown_keys_are_looked_for_at_most_every_30_seconds(start: Start, issuer: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        await welcomed(app, issuer.token(first))
        for number in range(5):
            await refused(app, issuer.token(ec_signer(f"unknown-{number}")))
        assert issuer.times("/keys") == 1
        gateway.clock.ahead = 30
        for number in range(5):
            await refused(app, issuer.token(ec_signer(f"unknown-{number}")))
        assert issuer.times("/keys") == 2
        gateway.clock.ahead = 60
        await refused(app, issuer.token(ec_signer("first")))  # a known name with a wrong signature asks for nothing
        assert issuer.times("/keys") == 2


async def test_an_issuer_that_hangs_is_asked_once_and_slows_no_other(start: Start, issuer: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        own = await app.token("alice")
        await welcomed(app, issuer.token(first))
        issuer.hanging = True
        gateway.clock.ahead = 30
        waiting = [asyncio.create_task(welcomed(app, issuer.token(second))) for _ in range(10)]
        await until(lambda: issuer.times("/keys") == 2)
        for query in (f"?token={own}", f"?service=acme&token={issuer.token(first)}"):
            async with app.socket(query) as client:
                await client.expect("welcome")
        assert not any(task.done() for task in waiting)
        issuer.keys = [first.jwk(), second.jwk()]
        issuer.hanging = False
        assert {welcome["user"] for welcome in await asyncio.gather(*waiting)} == {"carol"}
        assert issuer.times("/keys") == 2


async def test_an_issuer_that_does_not_answer_in_time_is_tried_again_later(start: Start, issuer: FakeService) -> None:
    issuer.hanging = True
    gateway = start(settings={"outside_timeout_seconds": 1})
    async with App(gateway) as app:
        token = issuer.token(first)
        await told_to_come_back(app, token)
        issuer.hanging = False
        await told_to_come_back(app, token)  # not at each connection
        gateway.clock.ahead = 5
        await welcomed(app, token)


async def test_while_the_issuer_is_down_its_keys_are_good_for_a_day(own_gateway: OwnGateway) -> None:
    with running_service() as issuer:
        issuer.keys = [first.jwk()]
        trusted = {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{issuer.url}/keys"}
        gateway = own_gateway(issuers={"acme": trusted})
        async with App(gateway) as app:
            await welcomed(app, issuer.token(first))
    token = issuer.token(first, exp=int(time.time()) + 3 * DAY)
    async with App(gateway) as app:
        gateway.clock.ahead = DAY - 60
        await welcomed(app, token)
        await told_to_come_back(app, issuer.token(second, exp=int(time.time()) + 3 * DAY))
        await welcomed(app, token)
        gateway.clock.ahead = DAY + 60
        await told_to_come_back(app, token)


async def test_a_gateway_starts_while_the_issuer_is_down(own_gateway: OwnGateway) -> None:
    with running_service() as issuer:
        port = int(issuer.url.rpartition(":")[2])
    trusted = {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{issuer.url}/keys"}
    gateway = own_gateway(issuers={"acme": trusted})
    async with App(gateway) as app:
        await told_to_come_back(app, issuer.token(first))
        async with app.connect("alice"):
            pass
        with running_service(port) as issuer:
            issuer.keys = [first.jwk()]
            gateway.clock.ahead = 5
            await welcomed(app, issuer.token(first))


async def test_an_issuer_with_an_untrusted_certificate_is_not_believed(
    own_gateway: OwnGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, _ = certificate(tmp_path, IPAddress(IPv4Address("127.0.0.1")))
    with running_service(ssl_certfile=str(file), ssl_keyfile=str(tmp_path / "key.pem")) as issuer:
        issuer.keys = [first.jwk()]
        url = issuer.url.replace("http:", "https:")
        gateway = own_gateway(issuers={"acme": {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{url}/keys"}})
        async with App(gateway) as app:
            await told_to_come_back(app, issuer.token(first))
            assert issuer.asked == []
            assert "could not be fetched: no answer: SSLCertVerificationError" in caplog.text


BAD_DOCUMENTS: dict[str, Any] = {
    "huge": {"body": b'{"keys": [' + b'"' + b"x" * 200_000 + b'"]}'},
    "endless": {"body": b" " * 30_000_000},
    "compressed": {"headers": {"content-encoding": "gzip"}},
    "moved elsewhere": {"status": 302, "headers": {"location": "/other"}},
    "an error": {"status": 500},
    "a page": {"body": b"<html>"},
    "nothing": {"body": b""},
    "not UTF-8": {"body": b"\xff"},
    "deep": {"body": b"[" * 5000},
    "a list": {"body": b"[]"},
    "no keys": {"body": b"{}"},
    "no list of keys": {"body": b'{"keys": {"first": {}}}'},
    "too many": {"body": encoded({"keys": [first.jwk()] * 101})},
    "a key twice over": {"body": encoded({"keys": [first.jwk()]}).replace(b'{"keys"', b'{"keys": [], "keys"')},
    "a number": {"body": b"7"},
}


async def test_a_document_that_is_none_lets_no_user_in_and_breaks_nothing(
    start: Start, issuer: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = start()
    async with App(gateway) as app:
        await welcomed(app, issuer.token(first))
        for number, (bad, answer) in enumerate(BAD_DOCUMENTS.items(), 1):
            issuer.body, issuer.status, issuer.headers = None, 200, {}
            for name, value in answer.items():
                setattr(issuer, name, value)
            gateway.clock.ahead = 30 * number
            caplog.clear()
            await told_to_come_back(app, issuer.token(second))
            assert "the keys of the service acme could not be fetched: " in caplog.text, bad
            assert issuer.times("/keys") == 1 + number, bad
            await welcomed(app, issuer.token(first, exp=int(time.time()) + DAY))
        assert {path for path, _, _ in issuer.asked} == {"/keys"}
        assert [record for record in caplog.records if record.exc_info] == []


def _weak() -> dict[str, Any]:
    modulus = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
    return {"kty": "RSA", "kid": "weak", "n": encode(modulus.to_bytes(128, "big")), "e": "AQAB"}


UNUSABLE: dict[str, dict[str, Any]] = {
    "weak": _weak(),
    "for encryption": ec_signer("x").jwk(use="enc"),
    "not for verifying": ec_signer("x").jwk(use=..., key_ops=["sign"]),
    "key_ops a number": ec_signer("x").jwk(key_ops=7),
    "use a list": ec_signer("x").jwk(use=[]),
    "for an algorithm that we do not take": other_rsa.jwk(alg="RS512"),
    "of an algorithm that it does not fit": ec_signer("x").jwk(alg="RS256"),
    "not on its curve": ec_signer("x").jwk(x="AA", y="AA"),
    "on a curve of its own": ec_signer("x").jwk(crv="P-999"),
    "crv a list": ec_signer("x").jwk(crv=[]),
    "x a number": ec_signer("x").jwk(x=7),
    "x no base64": ec_signer("x").jwk(x="!"),
    "with a name of its own kind": ec_signer("x").jwk(kid=7),
    "Ed25519, which the settings do not name": edwards_signer("x").jwk(),
    "Ed25519 of one byte": {"kty": "OKP", "crv": "Ed25519", "kid": "x", "x": "AA"},
    "e zero": other_rsa.jwk(e="AA"),
    "n even": other_rsa.jwk(n=encode(b"\xff" * 255 + b"\xfe")),
}


async def test_keys_that_cannot_be_used_are_passed_over(start: Start, issuer: FakeService) -> None:
    issuer.keys = [*UNUSABLE.values(), 7, None, {}, first.jwk()]  # type: ignore[list-item]
    async with App(start()) as app:
        await welcomed(app, issuer.token(first))


@pytest.mark.parametrize(
    "left",
    [[], list(UNUSABLE.values()), [{"kty": "oct", "k": "a" * 43, "kid": "first", "alg": "HS256"}]],
    ids=["none", "none that is usable", "a secret of that name"],
)
async def test_keys_that_are_withdrawn_are_gone_also_if_no_usable_one_remains(
    start: Start, issuer: FakeService, caplog: pytest.LogCaptureFixture, left: list[dict[str, Any]]
) -> None:
    gateway = start()
    async with App(gateway) as app:
        await welcomed(app, issuer.token(first))
        issuer.keys = left
        gateway.clock.ahead = 30
        await refused(app, issuer.token(ec_signer("unknown")))  # this makes the gateway fetch the keys again
        await refused(app, issuer.token(first))
        await refused(app, issuer.token(second))
        assert "the service acme has 0 usable keys for RS256, ES256" in caplog.text
        assert issuer.times("/keys") == 2  # an empty answer counts, and is not requested again at each attempt
        issuer.keys = [first.jwk()]
        gateway.clock.ahead = 60
        await welcomed(app, issuer.token(first))


async def test_of_two_keys_with_one_name_the_first_counts(start: Start, issuer: FakeService) -> None:
    impostor = ec_signer("first")
    issuer.keys = [first.jwk(), impostor.jwk()]
    async with App(start()) as app:
        await welcomed(app, issuer.token(first))
        await refused(app, issuer.token(impostor))


# ---- lies ----


def _lies(issuer: FakeService) -> dict[str, str]:
    good = issuer.claims()
    public = first.public()
    lies = {
        f"HMAC with the public key in {form}": hmac_signer("first", each).sign(good, typ="JWT")
        for form, each in public.items()
    }
    wrong_claims: dict[str, dict[str, Any]] = {
        "another issuer": {"iss": "https://evil.example/"},
        "an issuer with a slash more": {"iss": issuer.url + "/"},
        "no issuer": {"iss": ...},
        "another audience": {"aud": "other"},
        "other audiences": {"aud": ["other", "chats"]},
        "no audience": {"aud": ...},
        "an audience that is no text": {"aud": [["chat"]]},
        "no subject": {"sub": ...},
        "an empty subject": {"sub": ""},
        "a subject that is a number": {"sub": 7},
        "a very long subject": {"sub": "x" * 1025},
        "no end": {"exp": ...},
        "an end that is text": {"exp": "4000000000"},
        "an end that is true": {"exp": True},
        "an end beyond time": {"exp": 10**18},
        "not yet": {"nbf": int(time.time()) + 3600},
        "made in the future": {"iat": int(time.time()) + 3600},
    }
    lies |= {name: issuer.token(first, **claims) for name, claims in wrong_claims.items()}
    wrong_headers: dict[str, dict[str, Any]] = {
        "alg none": {"alg": "none"},
        "alg of another key": {"alg": "RS256"},
        "alg a list": {"alg": ["ES256"]},
        "no alg": {"alg": ...},
        "no kid": {"kid": ...},
        "kid a number": {"kid": 7},
        "kid a list": {"kid": ["first"]},
        "kid a path": {"kid": "../first"},
        "kid of 300": {"kid": "x" * 300},
        "kid of another key": {"kid": "second"},
        "crit": {"crit": ["exp"]},
        "b64": {"b64": False},
        "zip": {"zip": "DEF"},
        "cty": {"cty": "JWT"},
        "typ of something else": {"typ": "logout+jwt"},
        "typ a number": {"typ": 7},
    }
    lies |= {name: first.sign(good, **{"typ": "JWT"} | header) for name, header in wrong_headers.items()}
    mine = ec_signer("first")
    lies["the liar's own key, embedded"] = mine.sign(good, typ="JWT", jwk=mine.jwk())
    lies["the liar's own keys, elsewhere"] = mine.sign(good, typ="JWT", jku=f"{issuer.url}/mine")
    lies["no signature"] = issuer.token(first).rpartition(".")[0] + "."
    lies["a payload that is no object"] = first.sign(b"[]", typ="JWT")
    lies["a key that is published for encryption"] = issuer.token(_for_encryption)
    lies["another curve"] = issuer.token(_another_curve)
    return lies


_for_encryption = ec_signer("enc")
_another_curve = ec_signer("p384", ec.SECP384R1())


async def test_no_lie_opens_the_socket_or_has_anything_else_fetched(
    start: Start, issuer: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.keys = [first.jwk(), second.jwk(), _for_encryption.jwk(use="enc")]
    gateway = start()
    async with App(gateway) as app:
        await welcomed(app, issuer.token(first, aud=["other", "chat"]))
        await welcomed(app, first.sign(issuer.claims(), typ="application/at+jwt"))
        await welcomed(app, first.sign(issuer.claims(), typ=...))
        for lie, token in _lies(issuer).items():
            try:
                message = await refused(app, token)
            except AssertionError as error:
                raise AssertionError(lie) from error
            assert message == "the token is not valid for this service; log in there for a new one", lie
        await refused(app, issuer.token(first, exp=int(time.time()) - 1), 40101, (1008, "token_expired"))
    assert [path for path, _, _ in issuer.asked] == ["/keys"]
    assert [record for record in caplog.records if record.exc_info] == []
