"""The routes file: what it means, and each mistake in one line that names its place."""

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routes.file import WrongRoutes, read
from gateway.routes.model import ALL_ROOMS, NO_ROOMS, Route
from gateway.routes.source import MAX_FILE_BYTES, MAX_SCHEMA_BYTES
from gateway.routes.surroundings import Surroundings
from gateway.routes.tables import AuthorizeTable, HookTable, RouteTable

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

HERE = Surroundings(
    types=frozenset({"chat.send", "chat.edit", "ping", "room.join"}),
    scopes=frozenset({"chat:read", "chat:write", "admin"}),
    addresses=(("127.0.0.1", 8000),),
    variables={"ORDERS_SECRET": SECRET, "WITH_A_LINE": f"{SECRET}\n", "BAD_SECRET": "hunter2hunter2", "EMPTY": ""},
)
PRODUCTION = Surroundings(HERE.types, HERE.scopes, production=True)

URL = 'url = "http://127.0.0.1:9000/orders"'
TO_URL = f'[routes."orders.*"]\n{URL}\nsecret = "{SECRET}"\n'
TO_WORKERS = '[routes."orders.*"]\nworker = true\n'
HOOK = f'[hooks.push]\nurl = "https://push.example.com/x"\nsecret = "{SECRET}"\ntypes = ["message.stored"]\n'
RIGHTS = f'[authorize]\nurl = "https://rights.example.com/x"\nsecret = "{SECRET}"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routes.toml"


def mistakes(path: Path, text: str | bytes, surroundings: Surroundings = HERE) -> list[str]:
    """Write a file, and return the lines about it without its path."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WrongRoutes) as caught:
        read(path, surroundings)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    for secret in (SECRET, "hunter2"):
        assert secret not in str(caught.value)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_a_route_has_what_its_table_says(path: Path) -> None:
    (path.parent / "reply.json").write_text('{"type": "object", "required": ["number"]}')
    path.write_text(
        f"""
        scopes = ["orders:write"]
        [routes."orders.*"]
        url = "https://orders.example.com:8443/gateway?shop=7"
        secret = ["env:ORDERS_SECRET", "{OTHER_SECRET}"]
        service = "orders"
        timeout_seconds = 2
        parallel = 8
        scope = "orders:write"
        rate = 0.5
        idempotent = true
        ordered = true
        claims = ["email", "https://example.com/plan"]
        data = {{ type = "object", properties = {{ sku = {{ type = "string" }} }} }}
        reply_file = "reply.json"
        effects = ["publish", "disconnect"]
        rooms = ["order-*", "orders"]
        """
    )
    routes = read(path, HERE).routes
    [route] = routes.routes
    assert routes.scopes == {"orders:write"}
    assert route.pattern == "orders.*"
    assert route.url == "https://orders.example.com:8443/gateway?shop=7"
    assert (route.service, route.scope, route.claims) == (
        "orders",
        "orders:write",
        ("email", "https://example.com/plan"),
    )
    assert (route.timeout_seconds, route.parallel, route.rate, route.idempotent, route.ordered) == (
        2,
        8,
        0.5,
        True,
        True,
    )
    assert route.signer is not None
    assert len(route.signer.headers("msg_1", 1, b"")["webhook-signature"].split()) == 2
    assert route.data is not None
    assert not route.data.fits({"sku": 1})
    assert route.reply is not None
    assert not route.reply.fits({})
    assert route.effects == {"publish", "disconnect"}
    assert route.rooms.matches("order-5")
    assert not route.rooms.matches("lobby")
    assert SECRET not in repr(routes)


def test_what_a_table_leaves_out_has_a_default(path: Path) -> None:
    path.write_text(TO_WORKERS + HOOK + RIGHTS)
    routes = read(path, HERE).routes
    assert routes.routes == (Route("orders.*"),)
    assert routes.routes[0].is_for_workers
    assert (routes.routes[0].timeout_seconds, routes.routes[0].parallel, routes.routes[0].rooms) == (5, 64, NO_ROOMS)
    hook = routes.hooks["push"]
    assert (hook.name, hook.format, hook.unseen_seconds, hook.rooms) == ("push", "webhook", 30, ALL_ROOMS)
    assert hook.types == {"message.stored"}
    assert routes.authorize is not None
    assert routes.authorize.actions == {"join", "send", "create"}
    assert (routes.authorize.timeout_seconds, routes.authorize.rooms) == (1, ALL_ROOMS)


def test_a_file_of_windows_is_read(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + TO_URL.replace("\n", "\r\n").encode())
    assert read(path, HERE).routes.find("orders.create") is not None


def test_a_file_may_have_no_routes(path: Path) -> None:
    path.write_text("scopes = []\n")
    assert read(path, HERE).routes.routes == ()


def test_a_secret_of_the_environment_may_end_in_a_line_break(path: Path) -> None:
    path.write_text(TO_URL.replace(SECRET, "env:WITH_A_LINE"))
    [route] = read(path, HERE).routes.routes
    path.write_text(TO_URL)
    assert read(path, HERE).routes.routes == (route,)


def route_with(lines: str) -> str:
    return TO_URL + lines


WRONG: dict[str, tuple[str, str]] = {
    # Types
    "a built-in type": (
        TO_WORKERS.replace("orders.*", "ping"),
        "routes.ping: expected types that the gateway does not have itself, got ping; choose another name",
    ),
    "a prefix of a built-in type": (
        TO_WORKERS.replace("orders.*", "chat.*"),
        'routes."chat.*": expected types that the gateway does not have itself, got chat.',
    ),
    "all types": (TO_WORKERS.replace("orders.*", "*"), 'routes."*": expected a type such as orders.create or a prefix'),
    "two stars": (TO_WORKERS.replace("orders.*", "orders.**"), 'routes."orders.**": expected a type such as'),
    "a star inside": (TO_WORKERS.replace("orders.*", "orders.*.new"), 'routes."orders.*.new": expected a type such as'),
    "a star without a dot": (TO_WORKERS.replace("orders.*", "orders*"), 'routes."orders*": expected a type such as'),
    "an empty part": (TO_WORKERS.replace("orders.*", "orders..*"), 'routes."orders..*": expected a type such as'),
    "no type": (TO_WORKERS.replace("orders.*", ""), 'routes."": expected a type such as'),
    "a long type": (TO_WORKERS.replace("orders.*", "o" * 65), f"routes.{'o' * 65}: expected a type such as"),
    "a line break": (TO_WORKERS.replace("orders.*", "a\\nb"), 'routes."a\\nb": expected a type such as'),
    "the same twice": (TO_WORKERS + TO_WORKERS, "expected TOML: Cannot declare ('routes', 'orders.*') twice"),
    "the same in other quotes": (TO_WORKERS + TO_WORKERS.replace('"', "'"), "expected TOML: Cannot declare"),
    "a type without quotes": (
        "[routes.orders.create]\nworker = true\n",
        'routes.orders.create: there is no such key; to name a type with a dot, put it in quotes: [routes."orders',
    ),
    "a route that is no table": ('routes = { "orders.*" = 3 }', 'routes."orders.*": expected a table, got 3'),
    "routes that are no table": ("routes = []", 'routes: expected tables such as [routes."orders.*"], got a list of 0'),
    # Where it goes
    "no place": ('[routes."orders.*"]\n', 'routes."orders.*".url: expected a url, or else worker = true, got neither'),
    "two places": (route_with("worker = true"), 'routes."orders.*".url: expected a url, or else worker = true, got bo'),
    "a url that is none": (TO_URL.replace("http://", "hxxp:"), 'routes."orders.*".url: expected a URL such as'),
    "a number": (TO_URL.replace(URL, "url = 9000"), 'routes."orders.*".url: expected a URL in quotes, such as'),
    "another scheme": (
        TO_URL.replace("http://", "ftp://"),
        'routes."orders.*".url: expected a URL such as http://127.0.0.1:9000/orders or one with https',
    ),
    "a password": (
        TO_URL.replace("http://", "http://app:hunter2@"),
        'routes."orders.*".url: expected a URL such as http://127.0.0.1:9000/orders without a user name or password;',
    ),
    "a fragment": (TO_URL.replace("/orders", "/orders#hunter2"), 'routes."orders.*".url: expected a URL such as'),
    "a space": (TO_URL.replace("/orders", "/or ders"), 'routes."orders.*".url: expected a URL such as'),
    "a line break in a url": (TO_URL.replace("/orders", "/\\r\\nx: hunter2"), 'routes."orders.*".url: expected a URL'),
    "a backslash": (TO_URL.replace("/orders", "\\\\@evil.example"), 'routes."orders.*".url: expected a URL such as'),
    "port 0": (TO_URL.replace("9000", "0"), 'routes."orders.*".url: expected a URL such as'),
    "port 65536": (TO_URL.replace("9000", "65536"), 'routes."orders.*".url: expected a URL such as'),
    "no host": (TO_URL.replace("127.0.0.1:9000", ""), 'routes."orders.*".url: expected a URL such as'),
    "an address that is none": (TO_URL.replace("127.0.0.1", "[::g]"), 'routes."orders.*".url: expected a URL such as'),
    "a long url": (TO_URL.replace("/orders", "/" + "o" * 2048), 'routes."orders.*".url: expected a URL such as'),
    "the gateway itself": (
        TO_URL.replace("9000", "8000"),
        'routes."orders.*".url: expected the URL of a service, got one of this gateway itself',
    ),
    "the gateway by name": (
        TO_URL.replace("127.0.0.1:9000", "LocalHost:8000"),
        'routes."orders.*".url: expected the URL',
    ),
    "the gateway as IPv6": (TO_URL.replace("127.0.0.1:9000", "[::1]:8000"), 'routes."orders.*".url: expected the URL'),
    "the gateway in a hook": (
        HOOK.replace("https://push.example.com", "http://127.0.0.1:8000"),
        "hooks.push.url: expected the URL of a service, got one of this gateway itself",
    ),
    "the gateway for rights": (
        RIGHTS.replace("https://rights.example.com", "http://127.0.0.1:8000"),
        "authorize.url: expected the URL of a service, got one of this gateway itself",
    ),
    "plain http for workers": (
        TO_WORKERS + "plain_http = true",
        'routes."orders.*".plain_http: this has no use without a url; leave it out',
    ),
    # Secrets
    "no secret": (
        f'[routes."orders.*"]\n{URL}\n',
        'routes."orders.*".secret: expected a secret such as env:ORDERS_SECRET for the signature, got nothing',
    ),
    "a secret for workers": (
        TO_WORKERS + f'secret = "{SECRET}"',
        'routes."orders.*".secret: a route for workers has no signature; leave the secret out',
    ),
    "a password as a secret": (
        TO_URL.replace(SECRET, "hunter2hunter2"),
        'routes."orders.*".secret: expected whsec_ and 24 to 64 random bytes in base64; make one with: echo',
    ),
    "a short secret": (
        TO_URL.replace(SECRET, "whsec_aHVudGVyMg=="),
        'routes."orders.*".secret: expected whsec_ and 24',
    ),
    "three secrets": (
        TO_URL.replace(f'"{SECRET}"', json.dumps([SECRET] * 3)),
        'routes."orders.*".secret: expected a secret such as whsec_… or env:NAME, or a list of two',
    ),
    "no secrets": (TO_URL.replace(f'"{SECRET}"', "[]"), 'routes."orders.*".secret: expected a secret such as'),
    "a number as a secret": (
        TO_URL.replace(f'"{SECRET}"', "12345"),
        'routes."orders.*".secret: expected a secret such',
    ),
    "the same secret twice": (
        TO_URL.replace(f'"{SECRET}"', json.dumps([SECRET, SECRET])),
        'routes."orders.*".secret: expected two different secrets, got the same one twice',
    ),
    "an unknown variable": (
        TO_URL.replace(SECRET, "env:NOPE"),
        'routes."orders.*".secret: expected a secret in the variable NOPE, got nothing; set it, or add it to .env',
    ),
    "an empty variable": (
        TO_URL.replace(SECRET, "env:EMPTY"),
        'routes."orders.*".secret: expected a secret in the var',
    ),
    "a wrong variable": (TO_URL.replace(SECRET, "env:BAD_SECRET"), 'routes."orders.*".secret: expected whsec_ and 24'),
    "a variable without a name": (
        TO_URL.replace(SECRET, "env:"),
        'routes."orders.*".secret: expected the name of a var',
    ),
    # Limits
    "an endless time": (
        route_with("timeout_seconds = inf"),
        'routes."orders.*".timeout_seconds: expected a number of seconds from 0.05 to 60, got',
    ),
    "no time": (route_with("timeout_seconds = 0"), 'routes."orders.*".timeout_seconds: expected a number of seconds'),
    "nan": (route_with("timeout_seconds = nan"), 'routes."orders.*".timeout_seconds: expected a number of seconds'),
    "a text": (
        route_with('timeout_seconds = "5"'),
        'routes."orders.*".timeout_seconds: expected a number of seconds from 0.05 to 60, got "5"',
    ),
    "a secret in a wrong line": (
        route_with(f'timeout_seconds = "{SECRET}"'),
        'routes."orders.*".timeout_seconds: expected a number of seconds from 0.05 to 60, got a text',
    ),
    "no places": (
        route_with("parallel = 0"),
        'routes."orders.*".parallel: expected a whole number from 1 to 10000, got 0',
    ),
    "half a place": (
        route_with("parallel = 1.5"),
        'routes."orders.*".parallel: expected a whole number from 1 to 10000',
    ),
    "true as a number": (route_with("parallel = true"), 'routes."orders.*".parallel: expected a whole number'),
    "a negative rate": (route_with("rate = -1"), 'routes."orders.*".rate: expected a number from 0 to 10000, got -1'),
    "a word as a switch": (
        route_with('ordered = "yes"'),
        'routes."orders.*".ordered: expected true or false, got "yes"',
    ),
    "1 as a switch": (route_with("idempotent = 1"), 'routes."orders.*".idempotent: expected true or false, got 1'),
    "a date": (
        route_with("rate = 2026-01-01"),
        'routes."orders.*".rate: expected a number from 0 to 10000, got a date',
    ),
    # Keys
    "a typing error": (
        route_with("parralel = 3"),
        'routes."orders.*".parralel: there is no such key; did you mean parallel?',
    ),
    "another key": (route_with("x = 3"), 'routes."orders.*".x: there is no such key; known are claims, data,'),
    "a key of the file": ("routs = {}", "routs: there is no such key; did you mean routes?"),
    "a key of a hook": (HOOK + "type = 3", "hooks.push.type: there is no such key; did you mean types?"),
    "a key of rights": (RIGHTS + "action = 3", "authorize.action: there is no such key; did you mean actions?"),
    # Scopes and names
    "an unknown scope": (
        'scopes = ["orders:write"]\n' + route_with('scope = "orders:wriet"'),
        'routes."orders.*".scope: expected a known scope, got "orders:wriet"; did you mean orders:write?;'
        " or add it to `scopes`",
    ),
    "two scopes in one": (
        route_with('scope = "a b"'),
        'routes."orders.*".scope: expected the name of a scope, such as',
    ),
    "a scope that is none": ('scopes = ["a b"]', "scopes[0]: expected the name of a scope, such as orders:write:"),
    "scopes that are a text": ('scopes = "a"', 'scopes: expected a list of at most 100 names of scopes, got "a"'),
    "scopes of other kinds": ("scopes = [3]", "scopes[0]: expected the name of a scope, such as orders:write:"),
    "a claim that is a number": (
        route_with("claims = [3]"),
        'routes."orders.*".claims[0]: expected a list of at most 32',
    ),
    "a claim twice": (route_with('claims = ["a", "a"]'), 'routes."orders.*".claims: expected each value once;'),
    "a service that is none": (
        route_with('service = "service:orders"'),
        'routes."orders.*".service: expected the name of a service account, such as orders, got "service:orders"',
    ),
    # Effects
    "an unknown effect": (
        route_with('effects = ["shutdown"]'),
        'routes."orders.*".effects[0]: expected a list of "publish", "join", "leave" and "disconnect", got "shutdown"',
    ),
    "an effect without rooms": (
        route_with('effects = ["join"]'),
        'routes."orders.*".rooms: expected the rooms that join may touch, got nothing; add the line',
    ),
    "rooms without an effect": (
        route_with('rooms = ["a"]'),
        'routes."orders.*".rooms: these have no use without publish, join or leave in `effects`; leave them out',
    ),
    "no service that publishes": (
        route_with('effects = ["publish"]\nrooms = ["a"]'),
        'routes."orders.*".service: expected the service account that publishes, got nothing; add the line',
    ),
    "two stars in rooms": (
        route_with('effects = ["join"]\nrooms = ["a**"]'),
        'routes."orders.*".rooms: write one star',
    ),
    "no rooms": (route_with('effects = ["join"]\nrooms = []'), 'routes."orders.*".rooms: expected a list of 1 to 100'),
    # Schemas
    "a schema that is none": (
        route_with('data = { type = "strin" }'),
        'routes."orders.*".data: expected a JSON Schema without remote references; at type:',
    ),
    "a text as a schema": (route_with('data = "{}"'), 'routes."orders.*".data: expected a JSON Schema as a table'),
    "a schema elsewhere": (
        route_with('reply = { "$ref" = "http://127.0.0.1:1/hunter2" }'.replace("hunter2", "x")),
        'routes."orders.*".reply: expected a JSON Schema without remote references',
    ),
    "a date in a schema": (
        route_with("data = { const = 2026-01-01 }"),
        'routes."orders.*".data: expected a JSON Schema; JSON has no dates, no inf and no nan',
    ),
    "two schemas": (
        route_with('data = {}\ndata_file = "x.json"'),
        'routes."orders.*".data_file: expected `data` or `data_file`, got both; leave one out',
    ),
    "a schema in no file": (route_with('data_file = "nope.json"'), 'routes."orders.*".data_file: expected a file at '),
    "a URL as a schema": (
        route_with('data_file = "https://app:hunter2@a.example/order.json"'),
        'routes."orders.*".data_file: expected the path of a file, got a URL',
    ),
    "a folder as a schema": (route_with('data_file = "."'), 'routes."orders.*".data_file: expected a file at '),
    # Hooks and rights
    "a hook without a url": (
        HOOK.replace('url = "https://push.example.com/x"', ""),
        "hooks.push.url: expected a URL in quotes, such as http://127.0.0.1:9000/orders, got nothing; add the line",
    ),
    "a hook without types": (
        HOOK.replace('types = ["message.stored"]', ""),
        'hooks.push.types: expected a list of "user.connected",',
    ),
    "a hook of unknown types": (
        HOOK.replace("message.stored", "message.read"),
        "hooks.push.types[0]: expected a list of",
    ),
    "a hook of nothing": (HOOK.replace('["message.stored"]', "[]"), "hooks.push.types: expected a list of"),
    "a hook without a secret": (
        HOOK.replace(f'secret = "{SECRET}"', ""),
        "hooks.push.secret: expected a secret such as",
    ),
    "a hook with a wrong name": (
        HOOK.replace("hooks.push", 'hooks."Push it"'),
        'hooks."Push it": expected a name of 1 to',
    ),
    "a hook in another form": (
        HOOK + 'format = "xml"',
        'hooks.push.format: expected "webhook" or "cloudevents", got "xml"',
    ),
    "a hook that never sees": (HOOK + "unseen_seconds = 0", "hooks.push.unseen_seconds: expected a number of seconds"),
    "rights without a url": ("[authorize]\n", "authorize.url: expected a URL in quotes,"),
    "rights to fly": (
        RIGHTS + 'actions = ["fly"]',
        'authorize.actions[0]: expected a list of "join", "send" and "create"',
    ),
    "rights to nothing": (RIGHTS + "actions = []", 'authorize.actions: expected a list of "join", "send" and "create"'),
    "rights as a list": ("authorize = []", "authorize: expected a table, got a list of 0"),
    # The file
    "an empty file": (
        "",
        'expected a table such as [routes."orders.*"], got an empty file; write `scopes = []` for none',
    ),
    "comments alone": ("# nothing yet\n", "expected a table such as"),
    "not TOML": ("routes: {}", "expected TOML: Expected '=' after a key"),
    "half a file": (TO_URL[: len(TO_URL) - 20], "expected TOML: "),
    "deep values": ("a = " + "[" * 100_000, "expected TOML, got values that are nested too deep"),
    "a long number": ("a = " + "9" * 5000, "expected TOML: "),
}


@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_one_line_that_names_its_place(path: Path, text: str, line: str) -> None:
    found = mistakes(path, text)
    assert any(each.startswith(line) for each in found), found
    assert len(found) <= 2, found
    assert all(each.isprintable() for each in found)


@pytest.mark.parametrize(
    ("table", "key", "lowest", "highest", "step"),
    [
        (TO_URL, "timeout_seconds", 0.05, 60, 0.01),
        (TO_URL, "parallel", 1, 10_000, 1),
        (TO_URL, "rate", 0, 10_000, 1),
        (HOOK, "unseen_seconds", 1, 604_800, 0.5),
        (RIGHTS, "timeout_seconds", 0.05, 10, 0.01),
    ],
)
def test_a_number_may_be_as_low_and_as_high_as_the_mistake_says(
    path: Path, table: str, key: str, lowest: float, highest: float, step: float
) -> None:
    for number in (lowest, highest):
        path.write_text(f"{table}{key} = {number}\n")
        read(path, HERE)
    for number in (lowest - step, highest + step):
        [found] = mistakes(path, f"{table}{key} = {number}\n")
        assert f"from {lowest} to {highest}, got" in found


def names(count: int) -> str:
    return json.dumps([f"a{number}" for number in range(count)])


@pytest.mark.parametrize(
    ("most", "make"),
    [
        (32, lambda count: route_with(f"claims = {names(count)}")),
        (100, lambda count: HOOK + f"rooms = {names(count)}"),
        (100, lambda count: f"scopes = {names(count)}"),
        (100, lambda count: "".join(HOOK.replace("push", f"h{number}") for number in range(count))),
        (64, lambda count: TO_WORKERS.replace("orders", "o" * (count - 2))),
        (64, lambda count: route_with(f'claims = ["{"c" * count}"]')),
        (2048, lambda count: TO_URL.replace("/orders", "/" + "o" * (count - 22))),
    ],
)
def test_a_list_or_a_name_may_be_so_long_and_no_longer(path: Path, most: int, make: Callable[[int], str]) -> None:
    path.write_text(make(most))
    read(path, HERE)
    assert len(mistakes(path, make(most + 1))) == 1


def test_a_file_may_be_as_large_as_its_limit(path: Path) -> None:
    schema = path.parent / "order.json"
    schema.write_text("{}" + " " * (MAX_SCHEMA_BYTES - 2))
    text = route_with('data_file = "order.json"\n')
    path.write_text(text + "#" * (MAX_FILE_BYTES - len(text)))
    assert read(path, HERE).routes.find("orders.create") is not None


def test_all_mistakes_come_at_once(path: Path) -> None:
    found = mistakes(path, TO_WORKERS + "parallel = 0\nx = 3\n" + HOOK + "y = 3\n" + RIGHTS + "z = 3\n")
    assert [each.partition(":")[0] for each in found] == [
        'routes."orders.*".parallel',
        'routes."orders.*".x',
        "hooks.push.y",
        "authorize.z",
    ]


def test_of_thousands_of_mistakes_the_first_are_printed(path: Path) -> None:
    found = mistakes(path, "".join(f'[routes."a{number}"]\n' for number in range(1000)))
    assert len(found) == 51
    assert found[-1] == "950 more mistakes; correct those above first"


def test_a_thousand_routes_are_read_and_one_more_is_refused(path: Path) -> None:
    tables = [f'[routes."a{number}.*"]\nworker = true\n' for number in range(1001)]
    path.write_text("".join(tables[:1000]))
    assert len(read(path, HERE).routes.routes) == 1000
    assert mistakes(path, "".join(tables)) == ["routes: expected at most 1000 tables, got 1001"]


def test_other_files_than_text_of_a_mebibyte_are_refused(path: Path) -> None:
    with pytest.raises(WrongRoutes, match=f"^GATEWAY_ROUTES: expected a file at {path}, got nothing"):
        read(path, HERE)
    path.mkdir()
    with pytest.raises(WrongRoutes, match="got something else"):
        read(path, HERE)
    path.rmdir()
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(WrongRoutes, match=f"^GATEWAY_ROUTES: expected at most {MAX_FILE_BYTES} bytes"):
        read(path, HERE)
    path.write_bytes(b"scopes = []\n# \xff\n")
    with pytest.raises(WrongRoutes, match="line 2: expected UTF-8"):
        read(path, HERE)


BAD_SCHEMAS: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{", "expected JSON in "),
    "a key twice": (b'{"type": "object", "type": "object"}', "an object has the same key twice"),
    "not UTF-8": (b'{"title": "\xff"}', "in UTF-8, got another encoding"),
    "too long": (b" " * (MAX_SCHEMA_BYTES + 1), f"expected at most {MAX_SCHEMA_BYTES} bytes"),
    "too deep": (b'{"not":' * 100 + b"{}" + b"}" * 100, "levels deep"),
    "no schema": (b"[]", "expected a JSON Schema: an object, true or false"),
}


@pytest.mark.parametrize(("content", "problem"), BAD_SCHEMAS.values(), ids=BAD_SCHEMAS.keys())
def test_a_wrong_file_of_a_schema_is_named(path: Path, content: bytes, problem: str) -> None:
    (path.parent / "order.json").write_bytes(content)
    [found] = mistakes(path, route_with('data_file = "order.json"'))
    assert found.startswith('routes."orders.*".data_file: ')
    assert problem in found


def test_routes_share_the_schema_of_one_file(path: Path) -> None:
    (path.parent / "order.json").write_text('{"type": "object"}')
    path.write_text(
        '[routes."a.*"]\nworker = true\ndata_file = "order.json"\n'
        '[routes."b.*"]\nworker = true\nreply_file = "order.json"\n'
    )
    reading = read(path, HERE)
    first, second = reading.routes.routes
    assert first.data is not None
    assert first.data is second.reply
    assert set(reading.stamps) == {path, path.parent / "order.json"}


@pytest.mark.parametrize(
    ("url", "is_fine"),
    [
        ("https://orders.example.com/", True),
        ("http://127.0.0.1:9000/", True),
        ("http://[::1]:9000/", True),
        ("http://localhost:9000/", True),
        ("http://10.1.2.3/", True),
        ("http://192.168.1.1/", True),
        ("http://[fd00::1]/", True),
        ("http://93.184.216.34/", False),
        ("http://orders.example.com/", False),
        ("http://orders/", False),
        ("http://127.0.0.1.example.com/", False),
    ],
)
def test_production_sends_in_the_clear_only_to_near_addresses_unless_it_may(
    path: Path, url: str, is_fine: bool
) -> None:
    text = TO_URL.replace("http://127.0.0.1:9000/orders", url)
    path.write_text(text + ("" if is_fine else "plain_http = true\n"))
    assert read(path, PRODUCTION).routes.find("orders.create") is not None
    if not is_fine:
        [found] = mistakes(path, text, PRODUCTION)
        assert found.startswith('routes."orders.*".url: expected https in production; or write plain_http = true')
        path.write_text(text)
        assert read(path, HERE).routes.find("orders.create") is not None  # in development


@pytest.mark.parametrize(
    ("listens", "url", "is_loop"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000/", True),
        ("0.0.0.0", "http://127.3.2.1:8000/", True),
        ("0.0.0.0", "http://localhost:8000/", True),
        ("0.0.0.0", "http://[::1]:8000/", True),
        ("::", "http://localhost:8000/", True),
        ("::", "http://[::ffff:127.0.0.1]:8000/", True),
        ("0.0.0.0", "http://0.0.0.0:8000/", True),
        ("10.1.2.3", "http://10.1.2.3:8000/", True),
        ("10.1.2.3", "http://10.1.2.4:8000/", False),
        ("10.1.2.3", "http://127.0.0.1:8000/", False),
        ("127.0.0.1", "http://127.0.0.1:8001/", False),
        ("127.0.0.1", "http://10.1.2.3:8000/", False),
        ("0.0.0.0", "http://orders.example.com:8000/", False),
    ],
)
def test_a_url_that_leads_back_is_found_by_host_and_port(path: Path, listens: str, url: str, is_loop: bool) -> None:
    text = TO_URL.replace("http://127.0.0.1:9000/orders", url)
    here = Surroundings(addresses=((listens, 8000),))
    path.write_text(text)
    if is_loop:
        assert mistakes(path, text, here) == [
            'routes."orders.*".url: expected the URL of a service, got one of this gateway itself'
        ]
    else:
        read(path, here)


def test_without_the_application_its_types_and_scopes_are_not_checked(path: Path) -> None:
    path.write_text(route_with('scope = "dice:roll"'))
    read(path, Surroundings(types=None, scopes=None))
    assert mistakes(path, route_with('scope = "dice:roll"'), Surroundings()) != []


HEADS = [
    '[routes."a.*"]',
    "[routes.chat]",
    "[hooks.push]",
    "[authorize]",
    "[routes]",
    "[x]",
    "[[routes]]",
    '[routes."a.*".data]',
]
KEYS = sorted(
    {"scopes", "routes", "hooks", "authorize", "x", '"\\u0007"', '"a.b"'}
    | {key for table in (RouteTable, HookTable, AuthorizeTable) for key in table.model_fields}
)
VALUES = [
    *("0", "1", "-1", "0.5", "1e308", "inf", "nan", "true", "false", '""', '"x"', '"hunter2 2"', "[]", "{}", "[[]]"),
    *('["x"]', '["*"]', '["**"]', '["publish"]', '["message.stored"]', '["join"]', '["join", "join"]', "[1, true]"),
    *('"http://127.0.0.1/"', '"https://a.example/?hunter2"', '"http://hunter2@a/"', f'"{SECRET}"'),
    *('"env:ORDERS_SECRET"', "2026-01-01", "07:32:00"),
    *('{ type = "object" }', '{ "$ref" = "#" }', '{ a = [{}] }', '"orders"', "9" * 30),
]  # fmt: skip
LINES = [
    (key, value)
    for key, value in product(KEYS, VALUES)
    # The path of a file is no secret, and a line about it shows it. A URL is no path.
    if not key.endswith("_file") or "://" in value or "hunter2" not in value.replace(SECRET, "hunter2")
]


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", *HEADS]), st.lists(st.sampled_from(LINES))),
        max_size=4,
    )
)
def test_any_file_is_either_read_or_refused_in_lines_without_secrets(
    tmp_path_factory: pytest.TempPathFactory, tables: list[tuple[str, list[tuple[str, str]]]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("\n".join(line for head, keys in tables for line in (head, *(f"{k} = {v}" for k, v in keys))))
    problem = ""
    try:
        read(path, HERE)
    except WrongRoutes as error:
        problem = str(error)
    assert "hunter2" not in problem
    assert SECRET not in problem
    assert all(line.isprintable() for line in problem.splitlines())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    with suppress(WrongRoutes):
        read(path, HERE)
