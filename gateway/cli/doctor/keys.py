"""The keys that sign tokens, and the secrets that open doors."""

import os
import stat
from collections.abc import Iterator

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
    """Check that only the gateway's user can read the key files."""
    folder = subject.settings.key_folder
    try:
        paths = [folder, *sorted(folder.iterdir())]
    except FileNotFoundError:
        yield ok(f"there is no key folder {folder}")
        return
    except OSError as error:
        yield problem(f"the key folder {folder} cannot be read ({error.strerror})", f"chown -R {os.geteuid()} {folder}")
        return
    loose = [path for path in paths if _is_open(path)]
    for path in loose:
        right = 700 if path.is_dir() else 600
        yield problem(f"others can read {path}, and sign tokens with it", f"chmod {right} {path}")
    if not loose:
        yield ok(f"only one user can read {folder}")


def _is_open(path: os.PathLike[str]) -> bool:
    """Return whether others than the owner may read a file. Public keys are for all, and have no secret."""
    if os.fspath(path).endswith((".pub", ".pub.pem", "public.pem")):
        return False
    return bool(os.stat(path).st_mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IRGRP))
