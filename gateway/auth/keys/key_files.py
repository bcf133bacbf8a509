"""The files of the keys, and the checks of them: a secret, and a folder with a file for each other key.

The secret is `GATEWAY_SECRET_KEY`; in development, the gateway makes one and keeps it in the data folder. The folder
has a file for each key, and the file's name holds all of its data:

    20261121T101500Z-x7f3q9.pem                          an ES256 or RS256 key, made at that time
    20261121T101500Z-x7f3q9.secret                       an HS256 key
    20261121T101500Z-x7f3q9.until-20261122T120000Z.pem   one that has been retired

The `kid` is the part before the first dot. `key_ring` decides what each key is for.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.auth.keys.public_keys import UnfitKey
from gateway.auth.keys.signatures import Key
from gateway.config.key_material import is_key_material
from gateway.config.settings import Settings
from gateway.config.unfit_secrets import MIN_KEY_BYTES, is_guessable
from gateway.core.start_error import StartError, make_data_dir

SECRET_FILE = "secret_key"  # noqa: S105 - a name
SECRET_KID = "secret"  # noqa: S105 - a name
"""The `kid` of the secret. A token without `kid` means the secret too."""

RSA_BITS = 3072

Algorithm = Literal["ES256", "RS256", "HS256"]

_NAME = re.compile(r"(?P<kid>(?P<made>\d{8}T\d{6}Z)-[A-Za-z0-9]{1,40})(\.until-(?P<until>\d{8}T\d{6}Z))?\.(pem|secret)")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class KeyFile:
    """A key of the folder. Times are seconds since 1970."""

    path: Path
    key: Key
    made_at: float
    until: float | None


def read_folder(settings: Settings) -> list[KeyFile]:
    """Read every key of the folder, oldest first, or raise `StartError` for the first that is wrong."""
    folder = settings.key_folder
    try:
        if not folder.exists():
            return []
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        # A file that disappears meanwhile is an error as well: it may be a renamed key, which still counts.
        return [_read_file(path, check=not settings.development) for path in paths]
    except OSError as error:
        raise StartError(f"cannot read the keys in {folder} ({error.strerror}); make it readable") from None


def can_sign(files: Iterable[KeyFile]) -> bool:
    """Return whether one of the keys has not been retired."""
    return any(file.until is None for file in files)


def read_secret(settings: Settings, *, make: bool) -> Key | None:
    """Return the secret as a key, or None. In development, make one on demand. Raises `StartError`."""
    if settings.secret_key is not None:
        return Key.from_secret(SECRET_KID, settings.secret_key.get_secret_value().encode())
    if not settings.development:
        return None
    path = settings.data_dir / SECRET_FILE
    try:
        kept = _read_secret(path)
        if kept is None and make:
            kept = _make_secret(path)
    except OSError as error:
        raise StartError(
            f"cannot keep the signing key in {path} ({error.strerror});"
            " make the data folder writable, or name another with GATEWAY_DATA_DIR"
        ) from None
    return None if kept is None else Key.from_secret(SECRET_KID, kept)


def make_file(folder: Path, algorithm: Algorithm, now: float) -> KeyFile:
    """Make a key, readable by its owner alone, or raise `StartError`."""
    make_data_dir(folder)
    kid = f"{_stamp(now)}-{secrets.token_hex(4)}"
    path = folder / f"{kid}.{'secret' if algorithm == 'HS256' else 'pem'}"
    try:
        _write_new(path, _MAKERS[algorithm]())
    except OSError as error:
        raise StartError(f"cannot write {path} ({error.strerror}); make the folder writable") from None
    return _read_file(path, check=False)


def retire_file(file: KeyFile, until: float) -> KeyFile:
    """Let a key verify until then, and sign no more."""
    path = file.path.with_name(f"{file.key.kid}.until-{_stamp(until)}{file.path.suffix}")
    try:
        file.path.rename(path)
    except OSError as error:
        raise StartError(f"cannot rename {file.path} ({error.strerror}); make the folder writable") from None
    return _read_file(path, check=False)


def contents(folder: Path) -> list[tuple[str, int]]:
    """Return the names and times of the folder's files, which show every change."""
    try:
        return sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir() if path.name[0] != ".")
    except OSError:
        return []


def _read_file(path: Path, *, check: bool) -> KeyFile:
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise StartError(
            f"{path} is not named as a key is; expected a name such as 20261121T101500Z-x7f3q9.pem:"
            " when it was made, a dash, letters and digits"
        )
    if check and path.stat().st_mode & 0o007:
        raise StartError(f"{path} can be read by every user of this machine; make it yours alone: chmod 600 {path}")
    raw = path.read_bytes()
    try:
        kid = name["kid"]
        key = Key.from_secret(kid, _secret(raw, strictly=check)) if path.suffix == ".secret" else _private(kid, raw)
        return KeyFile(path, key, _time(name["made"]), _time(name["until"]) if name["until"] else None)
    except ValueError as error:
        raise StartError(f"{path} holds no usable key: {error}") from None


def _private(kid: str, pem: bytes) -> Key:
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError:
        raise UnfitKey("it is encrypted; expected one without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnfitKey("expected a private key in PEM") from None
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UnfitKey("expected an EC key on the curve P-256 or an RSA key")
    return Key.from_private(kid, private)


def _secret(raw: bytes, *, strictly: bool) -> bytes:
    """Return the secret, or raise `UnfitKey` if it is public or short, or `strictly` if it is easy to guess."""
    if is_key_material(raw):  # with its end: the last byte of a key in DER may look like white space
        raise UnfitKey("expected a random string, got a key or a certificate; make one with: openssl rand -base64 48")
    secret = raw.strip()
    if strictly and is_guessable(secret.decode(errors="replace")):
        raise UnfitKey(
            "expected a random string, got one as easy to guess as a sample; make it: openssl rand -base64 48"
        )
    if len(secret) < MIN_KEY_BYTES or len(set(secret)) < 10:
        raise UnfitKey(f"expected at least {MIN_KEY_BYTES} random bytes; make them with: openssl rand -base64 48")
    return secret


def _read_secret(path: Path) -> bytes | None:
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    if len(secret) < MIN_KEY_BYTES:
        raise StartError(f"{path} holds no usable key; remove it, and the next start makes a new one")
    return secret


def _make_secret(path: Path) -> bytes:
    # Two processes that start at once both use the first one's secret.
    with suppress(FileExistsError):
        _write_new(path, _new_secret())
    secret = _read_secret(path)
    assert secret is not None  # noqa: S101 - linked a moment ago
    return secret


def _write_new(path: Path, content: bytes) -> None:
    # Write a draft and link it into place, so that another process sees either no key or the whole key.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()


def _pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _new_secret() -> bytes:
    return secrets.token_urlsafe(48).encode() + b"\n"


_MAKERS: dict[Algorithm, Callable[[], bytes]] = {
    "ES256": lambda: _pem(ec.generate_private_key(ec.SECP256R1())),
    "RS256": lambda: _pem(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)),
    "HS256": _new_secret,
}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _time(stamp: str) -> float:
    return datetime.strptime(stamp, _TIME).replace(tzinfo=UTC).timestamp()
