"""Settings: read from the environment, and refused with a reason."""

import re
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.settings import PREFIX, Settings, load_settings
from gateway.core.start_error import StartError

SAMPLE_KEY = "change-me-change-me-change-me-change-me"  # as .env.example has it
GOOD_KEY = "kY7w-3pXc9ZtQ2vLr8mNs4dFg6hJb1aE"

WRONG = {
    "ENVIRONMENT": "prod",
    "SECRET_KEY": "too short",
    "REGISTRATION": "maybe",
    "TOKEN_MINUTES": "0",
    "PASSWORD_ROUNDS": "3",
    "DATABASE_URL": "mysql://root:hunter2hunter2@localhost/db",
    "BUS_URL": "amqp://guest:hunter2hunter2@localhost",
    "BUS_PREFIX": "two words",
    "METRICS_TOKEN": "too short",
    "ROOT_PATH": "gateway/",
    "REGISTRY": "poll/registry.py",
    "ALLOWED_ORIGINS": "https://*.com",
    "MAX_MESSAGE_BYTES": "64k",
    "MESSAGE_RATE": "-1",
    "HANDSHAKE_REJECTION": "403",
    "ROOMS_OPEN": "perhaps",
    "OUTBOX_FRAMES": "1",
    "HEARTBEAT_SECONDS": "inf",
}


@pytest.fixture(autouse=True)
def an_empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("scopes", ["", " ", "chat:read,chat:write", "chat:read admin", 'say"it"', "x" * 65])
def test_default_scopes_are_names_without_admin(monkeypatch: pytest.MonkeyPatch, scopes: str) -> None:
    monkeypatch.setenv("GATEWAY_DEFAULT_SCOPES", scopes)
    with pytest.raises(StartError, match=r"^GATEWAY_DEFAULT_SCOPES: "):
        load_settings()


def test_without_any_setting_the_gateway_is_for_development() -> None:
    settings = load_settings()
    assert settings.development
    assert settings.registration_open
    assert settings.store_url.endswith("/data/gateway.db")


def test_settings_come_from_the_environment_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("GATEWAY_JOIN_RATE=3\nGATEWAY_MESSAGE_RATE=4\nOTHER=x\n")
    monkeypatch.setenv("GATEWAY_MESSAGE_RATE", "5")
    settings = load_settings()
    assert (settings.join_rate, settings.message_rate) == (3, 5)


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_a_wrong_value_is_told_in_one_line_that_names_it_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(StartError) as refused:
        load_settings()
    line = str(refused.value)
    assert line.startswith(f"GATEWAY_{name}: ")
    assert "\n" not in line
    assert len(value) < 5 or value not in line.partition(": ")[2]
    assert re.search(r"expected|should be", line)


def test_several_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_JOIN_RATE", "x")
    monkeypatch.setenv("GATEWAY_DEFLATE", "x")
    with pytest.raises(StartError) as refused:
        load_settings()
    assert sorted(line.split(":")[0] for line in str(refused.value).splitlines()) == [
        "GATEWAY_DEFLATE",
        "GATEWAY_JOIN_RATE",
    ]


@pytest.mark.parametrize("key", [SAMPLE_KEY, "x" * 40, "short", "-----BEGIN PRIVATE KEY-----" + "abcdef" * 9])
def test_production_refuses_a_key_that_is_known_or_weak(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("GATEWAY_ENVIRONMENT", "production")
    monkeypatch.setenv("GATEWAY_SECRET_KEY", key)
    with pytest.raises(StartError) as refused:
        load_settings()
    line = str(refused.value)
    assert line.startswith("GATEWAY_SECRET_KEY: ")
    assert "openssl rand -base64 48" in line
    assert key not in line


def test_production_with_a_good_key_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ENVIRONMENT", "production")
    monkeypatch.setenv("GATEWAY_SECRET_KEY", GOOD_KEY)
    settings = load_settings()
    assert not settings.development
    assert not settings.registration_open
    assert GOOD_KEY not in repr(settings)


def test_production_refuses_cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ENVIRONMENT", "production")
    monkeypatch.setenv("GATEWAY_SECRET_KEY", GOOD_KEY)
    monkeypatch.setenv("GATEWAY_PASSWORD_ROUNDS", "4")
    with pytest.raises(StartError, match=r"^GATEWAY_PASSWORD_ROUNDS: "):
        load_settings()


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", "https://a.example, http://localhost:3000")
    assert load_settings().allowed_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "app.example.com",
            "https://",
            "https://App.example.com",
            "https://app.example.com/",
            "https://app.example.com.",
        ),
        *(
            "https://app.example.com:443",
            "http://localhost:80",
            "https://a@b.example",
            "https://*",
            "*",
            "null",
            "file:///",
        ),
        *("https://a.example https://b.example", "https://a.example:port", "https://a..example", "https://a.example?b"),
    ],
)
def test_an_origin_that_no_browser_would_send_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", f"https://fine.example,{origin}")
    with pytest.raises(StartError, match=r"^GATEWAY_ALLOWED_ORIGINS: expected origins as browsers send them"):
        load_settings()


def test_origins_of_apps_addresses_and_names_without_dots_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = (
        "capacitor://localhost",
        "http://[::1]:3000",
        "http://10.0.0.1",
        "https://a.example:8443",
        "http://box:443",
    )
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", ",".join(origins))
    assert load_settings().allowed_origins == origins


@pytest.mark.parametrize("name", ["a b", "a=b", "a;b", "é"])
def test_a_cookie_cannot_be_named_anything(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GATEWAY_SESSION_COOKIE", name)
    with pytest.raises(StartError, match=r"^GATEWAY_SESSION_COOKIE: expected the name of a cookie"):
        load_settings()


EXAMPLE = (Path(__file__).parents[3] / ".env.example").read_text()


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    listed = dict(re.findall(r"^#? ?GATEWAY_([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert listed.keys() == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        value = listed[name.upper()]
        if field.default is None or name in {"issuers", "introspection"}:
            continue  # examples; their defaults are made or follow from others
        default = field.default
        if isinstance(default, frozenset):
            default = tuple(sorted(default))
        separator = " " if name == "default_scopes" else ","
        shown = separator.join(default) if isinstance(default, tuple) else str(default)
        assert value == (shown.lower() if isinstance(default, bool) else shown), name


def test_the_examples_of_outside_services_work_as_they_are(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(re.sub(r"^# (GATEWAY_(ISSUERS|INTROSPECTION)=)", r"\1", EXAMPLE, flags=re.MULTILINE))
    settings = load_settings()
    assert settings.issuers["acme"].algorithms == ("RS256", "ES256")
    assert settings.introspection["legacy"].user_claim == "username"
    assert "change-me" not in repr(settings.introspection)


ISSUER = '"issuer": "https://a.example/", "audience": "chat"'
SECRET = "hunter2-VSqfKiXT7MEkMOsNzmZQkWdX4sPG"
WRONG_SERVICES = {
    "not JSON": ("{", "expected one JSON object"),
    "a list": ("[]", "should be a valid dictionary"),
    "a name twice": ('{"a": {}, "a": {}}', "expected one JSON object"),
    "our own name": (
        f'{{"gateway": {{{ISSUER}, "jwks_url": "https://a.example/keys"}}}}',
        "expected another name than",
    ),
    "no keys": ('{"acme": {"issuer": "acme", "audience": "chat"}}', "acme: expected jwks_url, or a secret for HS256"),
    "plain http": (
        f'{{"acme": {{{ISSUER}, "jwks_url": "http://a.example/hunter2"}}}}',
        "expected https; plain http is",
    ),
    "a password in the URL": (
        f'{{"acme": {{{ISSUER}, "jwks_url": "https://u:hunter2@a.example/"}}}}',
        "expected a URL",
    ),
    "a file": (f'{{"acme": {{{ISSUER}, "jwks_url": "file:///etc/passwd"}}}}', "expected a URL such as"),
    "no algorithm": (f'{{"acme": {{{ISSUER}, "jwks_url": "https://a.example/", "algorithms": []}}}}', "at least 1"),
    "a secret's algorithm": (
        f'{{"acme": {{{ISSUER}, "jwks_url": "https://a.example/", "algorithms": ["HS256"]}}}}',
        "acme: expected a secret for HS256",
    ),
    "neither an audience nor clients": (
        '{"acme": {"issuer": "https://a.example/", "jwks_url": "https://a.example/"}}',
        "acme: expected audience or client_ids",
    ),
    "no client": (
        '{"acme": {"issuer": "https://a.example/", "jwks_url": "https://a.example/", "client_ids": []}}',
        "acme.client_ids: Tuple should have at least 1 item",
    ),
    "a short secret": (
        f'{{"acme": {{{ISSUER}, "secret": "hunter2"}}}}',
        "acme.secret: expected at least 32 bytes, got 7",
    ),
    "a secret and keys": (
        f'{{"acme": {{{ISSUER}, "secret": "{SECRET}", "jwks_url": "https://a.example/"}}}}',
        "acme: expected no jwks_url and no algorithm but HS256 beside a secret",
    ),
    "a secret for public keys": (
        f'{{"acme": {{{ISSUER}, "secret": "{SECRET}", "algorithms": ["HS256", "RS256"]}}}}',
        "acme: expected no jwks_url and no algorithm but HS256 beside a secret",
    ),
    "a slip of the pen": (
        f'{{"acme": {{{ISSUER}, "jwks_url": "https://a.example/", "user": "x"}}}}',
        "acme.user: Extra",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_SERVICES)
def test_a_wrong_outside_service_is_told_by_the_place_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    value, problem = WRONG_SERVICES[wrong]
    monkeypatch.setenv("GATEWAY_ISSUERS", value)
    with pytest.raises(StartError) as refused:
        load_settings()
    line = str(refused.value).splitlines()[0]
    assert line.startswith("GATEWAY_ISSUERS: ")
    assert problem in line
    assert "hunter2" not in str(refused.value)


def forms_of(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> dict[str, str]:
    """A public key, in each form in which a person could paste it into a setting."""
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "PEM": pem,
        "PEM in one line": pem.replace("\n", "\\n"),
        "PEM in base64": b64encode(pem.encode()).decode(),
        "the middle of PEM": "".join(pem.splitlines()[1:-1]),
        "DER in base64": b64encode(der).decode(),
        "DER in base64url": urlsafe_b64encode(der).decode().rstrip("="),
        "DER in hexadecimal": der.hex(),
        "DER as text": der.decode("latin-1"),
        "OpenSSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    }


PUBLIC_FORMS = {
    f"{type(public).__name__} {form}": text
    for public in (
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    )
    for form, text in forms_of(public).items()
}
JWK = '{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'


AMONG_WORDS = "the key of alice is ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7"


@pytest.mark.parametrize(
    "secret", [*PUBLIC_FORMS.values(), JWK, AMONG_WORDS], ids=[*PUBLIC_FORMS, "JWK", "OpenSSH among words"]
)
def test_a_public_key_is_no_secret_of_an_issuer(secret: str) -> None:
    described = {"issuer": "https://a.example/", "audience": "chat", "secret": secret}
    with pytest.raises(StartError) as refused:
        load_settings(issuers={"acme": described})
    line = str(refused.value)
    assert line.startswith(
        "GATEWAY_ISSUERS: acme.secret: expected a secret that only the issuer and this gateway know, got a key"
    )
    assert len(line.splitlines()) == 1
    assert secret not in line


def test_in_production_a_sample_is_no_secret_of_an_issuer() -> None:
    sample = "super-secret-jwt-token-with-at-least-32-characters-long"  # a local Supabase has it
    issuers = {"acme": {"issuer": "http://127.0.0.1:54321/auth/v1", "audience": "authenticated", "secret": sample}}
    settings = load_settings(issuers=issuers)
    assert settings.issuers["acme"].algorithms == ("HS256",)
    assert sample not in repr(settings)
    with pytest.raises(StartError, match=r"^GATEWAY_ISSUERS: acme.secret: expected a random string, got a sample"):
        load_settings(issuers=issuers, environment="production", secret_key=SECRET)


def test_an_issuer_does_not_get_the_secret_of_the_gateway() -> None:
    issuers = {"acme": {"issuer": "https://a.example/", "audience": "chat", "secret": SECRET}}
    with pytest.raises(StartError, match=r"^GATEWAY_ISSUERS: acme.secret: expected another secret than GATEWAY_SECRET"):
        load_settings(issuers=issuers, secret_key=SECRET)


def test_two_issuers_do_not_share_a_secret() -> None:
    acme = {"issuer": "https://a.example/", "audience": "chat", "secret": SECRET}
    assert len(load_settings(issuers={"acme": acme, "again": acme | {"audience": "shop"}}).issuers) == 2
    with pytest.raises(StartError, match=r"^GATEWAY_ISSUERS: other.secret: expected another secret than that of anoth"):
        load_settings(issuers={"acme": acme, "other": acme | {"issuer": "https://b.example/"}})


def test_a_service_has_one_way_of_checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ISSUERS", f'{{"acme": {{{ISSUER}, "jwks_url": "http://127.0.0.1:1/keys"}}}}')
    legacy = '{"acme": {"url": "http://[::1]:1/", "client_id": "chat", "client_secret": "x"}}'
    monkeypatch.setenv("GATEWAY_INTROSPECTION", legacy)
    with pytest.raises(StartError, match=r"^GATEWAY_INTROSPECTION: expected other names .* got `acme` in both"):
        load_settings()


def test_without_a_way_to_log_in_registration_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN_ENDPOINT", "off")
    assert not load_settings().registration_open


def test_the_example_file_works_in_development_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(EXAMPLE)
    assert load_settings().development


def test_the_example_file_is_refused_in_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(EXAMPLE.replace("# GATEWAY_SECRET_KEY", "GATEWAY_SECRET_KEY"))
    monkeypatch.setenv("GATEWAY_ENVIRONMENT", "production")
    with pytest.raises(StartError, match="GATEWAY_SECRET_KEY: expected a random string, got a sample"):
        load_settings()
