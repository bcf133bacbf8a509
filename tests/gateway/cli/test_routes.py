"""`gateway routes check`: what a file means, or all that is wrong with it."""

from pathlib import Path

import pytest

from tests.gateway.cli.conftest import RunHere
from tests.support.child import free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

GOOD = """
scopes = ["orders:write"]
[routes."orders.*"]
url = "http://127.0.0.1:9000/orders?token=hunter2"
secret = "env:ORDERS_SECRET"
scope = "orders:write"
timeout_seconds = 2.5
parallel = 8
rate = 10
idempotent = true
claims = ["email"]
data = { type = "object" }
service = "orders"
effects = ["publish", "disconnect"]
rooms = ["order-*"]

[routes."stock.list"]
worker = true
service = "stock"
ordered = true

[hooks.push]
url = "https://push.example.com/events"
secret = "env:ORDERS_SECRET"
types = ["message.unseen", "room.vacated"]
format = "cloudevents"
unseen_seconds = 60
rooms = ["team-*"]

[authorize]
url = "http://127.0.0.1:9000/rights"
secret = "env:ORDERS_SECRET"
actions = ["join"]
claims = ["plan"]
"""

MEANING = """
types that begin with orders.
  go to http://127.0.0.1:9000/orders?…, signed
  within 2.5 s, 8 at once, again after a failure
  for users with the scope orders:write
  10 a second for each user
  with the claims email
  with a JSON Schema of data
  may disconnect, publish in order-* as service:orders
the type stock.list
  go to workers of stock
  within 5 s, 64 at once
  in order: later messages of a connection wait for the answer
the hook push
  gets message.unseen, room.vacated of the rooms team-*
  at https://push.example.com/events, signed, in the form cloudevents
  a message counts as unseen after 60 s
rights to join in the rooms *
  are asked at http://127.0.0.1:9000/rights, signed, within 1 s
  with the claims plan
2 routes, 1 hook, an [authorize]: no mistakes
"""


def test_a_good_file_is_printed_as_it_is_understood(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "routes.toml").write_text(GOOD)
    named = run_here(tmp_path, "routes", "check", "routes.toml", ORDERS_SECRET=SECRET)
    assert (named.status, named.err) == (0, "")
    assert named.out == MEANING.removeprefix("\n")
    of_setting = run_here(tmp_path, "routes", "check", GATEWAY_ROUTES="routes.toml", ORDERS_SECRET=SECRET)
    assert of_setting == named


def test_a_wrong_file_is_printed_as_its_mistakes(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "routes.toml").write_text(GOOD.replace("orders.*", "chat.*") + "paralel = 3\n")
    result = run_here(tmp_path, "routes", "check", "routes.toml", ORDERS_SECRET=SECRET)
    assert (result.status, result.out) == (1, "")
    assert [line.split(": ")[1:3] for line in result.err.splitlines()] == [
        ["routes.toml", 'routes."chat.*"'],
        ["routes.toml", "authorize.paralel"],
    ]


def test_a_secret_may_be_in_the_file_of_the_settings(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "routes.toml").write_text(GOOD)
    (tmp_path / ".env").write_text(f"GATEWAY_ROUTES=routes.toml\nORDERS_SECRET={SECRET}\n")
    assert run_here(tmp_path, "routes", "check").status == 0


def test_without_a_file_there_is_nothing_to_check(tmp_path: Path, run_here: RunHere) -> None:
    assert run_here(tmp_path, "routes", "check").problem == "expected a file, got none; name it, or set GATEWAY_ROUTES"
    missing = run_here(tmp_path, "routes", "check", "nope.toml")
    assert missing.problem == "FILE: expected a routes file at nope.toml, got nothing"


def test_the_scopes_and_types_of_an_application_may_be_left_out(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "routes.toml").write_text('[routes."dice.*"]\nworker = true\nscope = "dice:roll"\n')
    assert "dice:roll" in run_here(tmp_path, "routes", "check", "routes.toml").problem
    assert run_here(tmp_path, "routes", "check", "--own-app", "routes.toml").status == 0


@pytest.mark.server
def test_a_wrong_file_stops_a_start_with_its_mistakes(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "routes.toml").write_text('[routes."chat.*"]\nworker = true\n')
    problem = run_here(tmp_path, "serve", "--port", "0", GATEWAY_ROUTES="routes.toml").problem
    assert problem.startswith('routes.toml: routes."chat.*": expected types that the gateway does not have itself')


@pytest.mark.server
def test_a_route_that_leads_back_stops_a_start(tmp_path: Path, run_here: RunHere) -> None:
    port = free_port()
    url = f"http://localhost:{port}/x"
    (tmp_path / "routes.toml").write_text(f'[routes."orders.*"]\nurl = "{url}"\nsecret = "{SECRET}"\n')
    problem = run_here(tmp_path, "serve", "--port", str(port), GATEWAY_ROUTES="routes.toml").problem
    assert problem == (
        'routes.toml: routes."orders.*".url: expected the URL of a service, got one of this gateway itself'
    )
