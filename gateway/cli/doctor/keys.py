"""The keys that sign tokens, and the secrets that open doors."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.auth.keys.key_files import read_folder
from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.config.unfit_secrets import is_guessable
from gateway.core.start_error import StartError

NEW_SECRET = "GATEWAY_SECRET_KEY=…  # made with: openssl rand -base64 48"  # noqa: S105 - how to make one


def signing_key(subject: Subject) -> Iterator[Finding]:
    """Check that there is a key that signs, and that no attacker can guess it."""
    settings = subject.settings
    try:
        files = read_folder(settings)
    except StartError as error:
        yield problem(str(error), f"correct or remove the file in {settings.key_folder}")
        return
    secret = settings.secret_key
    if secret is not None and is_guessable(secret.get_secret_value()):
        yield problem("GATEWAY_SECRET_KEY is a sample, or easy to guess: anyone can sign tokens", NEW_SECRET)
    elif secret is not None:
        size = len(secret.get_secret_value().encode())
        yield ok(f"GATEWAY_SECRET_KEY has {size} bytes, and looks random")
    if files:
        yield ok(f"{settings.key_folder} has {len(files)} key file{'' if len(files) == 1 else 's'}")
    if secret is None and not files:
        if settings.development:
            yield warning("there is no key yet; development makes one of its own", "gateway keys new")
        else:
            yield problem("production has no key that signs", f"gateway keys new  # or {NEW_SECRET}")


def key_files(subject: Subject) -> Iterator[Finding]:
    """Check which users can read the key files. The rights of their folder say nothing if it is mounted."""
    folder = subject.settings.key_folder
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        yield ok(f"there is no key folder {folder}")
        return
    except OSError as error:
        yield problem(f"the key folder {folder} cannot be read ({error.strerror})", f"chown -R {os.geteuid()} {folder}")
        return
    found = [finding for path in paths if not _is_public(path) for finding in _rights(path)]
    yield from found or [ok(f"no key in {folder} is open to other users")]


def _is_public(path: Path) -> bool:
    """Return whether a file has a public key, which is for all, by its name."""
    return path.name.endswith((".pub", ".pub.pem", "public.pem"))


def _rights(path: Path) -> Iterator[Finding]:
    found = path.stat()
    if found.st_mode & stat.S_IRWXO:
        yield problem(f"every user can read {path}, and sign tokens with it", f"chmod 600 {path}")
    elif found.st_mode & stat.S_IWGRP:
        yield problem(f"the group of {path} can change it", f"chmod 600 {path}")
    elif found.st_mode & stat.S_IRGRP and found.st_uid == os.geteuid():
        # A file of another owner, such as a secret of Kubernetes, is for the gateway through its group alone.
        yield warning(f"the group of {path} can read it, and sign tokens with it", f"chmod 600 {path}")
