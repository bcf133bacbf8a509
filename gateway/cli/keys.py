"""`gateway keys`: makes, lists and retires the keys that sign tokens."""

from typing import Annotated

import typer
from rich.table import Column, Table

from gateway.auth.keys import key_files
from gateway.auth.keys.key_files import SECRET_KID, KeyFile
from gateway.auth.keys.key_ring import REREAD_SECONDS, SIGNS_AFTER_SECONDS, KeyRing
from gateway.auth.tokens import MAX_LIFETIME_SECONDS
from gateway.cli.printable import print_table
from gateway.config.settings import Settings, load_settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock
from gateway.core.start_error import StartError, make_data_dir
from schemas.base import timestamp

app = typer.Typer(help="Make, list and retire the keys that sign tokens.", no_args_is_help=True)

Kid = Annotated[str, typer.Argument(metavar="KID", show_default=False, help="The key's name, as `list` shows it.")]


@app.command()
def new(
    algorithm: Annotated[
        key_files.Algorithm, typer.Option(help="ES256 and RS256 have a public key, so that others can verify.")
    ] = "ES256",
) -> None:
    """Make a key, which then signs instead of the current one."""
    settings = load_settings()
    key_files.read_folder(settings)
    made = key_files.make_file(settings.key_folder, algorithm, SystemClock().wall())
    _note(settings, "key_made", made.key.kid)
    typer.echo(f"made {made.path} ({algorithm})")
    typer.echo(
        f"A running gateway reads it within {REREAD_SECONDS} seconds, and signs with it in {SIGNS_AFTER_SECONDS}."
        " Tokens of older keys stay valid; to end them: gateway keys retire KID"
    )
    if settings.keys_dir is None:
        typer.echo("Every gateway of this deployment needs the same files; see GATEWAY_KEYS_DIR.")


@app.command("list")
def list_keys() -> None:
    """List the keys and what each of them does."""
    settings = load_settings()
    now = SystemClock().wall()
    files = key_files.read_folder(settings)
    secret = key_files.read_secret(settings, make=False)
    if secret is None and not key_files.can_sign(files):
        typer.echo("there is no key that signs; make one with: gateway keys new")
        return
    signing = KeyRing(secret, files).signing_key(now).kid
    # The name says when a key was made. Names are copied, so they stay on one line.
    table = Table(Column("kid", no_wrap=True), "algorithm", "state")
    for file in reversed(files):
        table.add_row(file.key.kid, file.key.algorithm, _state(file, signing, now))
    if secret is not None:
        table.add_row(SECRET_KID, secret.algorithm, "signs" if signing == SECRET_KID else "verifies")
    print_table(table)


@app.command()
def retire(
    kid: Kid,
    now: Annotated[bool, typer.Option("--now", help="Remove it at once, if it may have leaked.")] = False,
) -> None:
    """Stop signing with a key. It verifies until its last token has ended, and can be removed then."""
    settings = load_settings()
    if kid == SECRET_KID:
        raise StartError(
            f"the secret is not a file; make a key with `gateway keys new`, and a day later remove GATEWAY_SECRET_KEY"
            f" (in development, {settings.data_dir / key_files.SECRET_FILE})"
        )
    files = key_files.read_folder(settings)
    file = next((file for file in files if file.key.kid == kid), None)
    if file is None:
        raise StartError(f"there is no key {kid} in {settings.key_folder}; see: gateway keys list")
    time = SystemClock().wall()
    ended = file.until is not None and file.until <= time
    others = [other for other in files if other is not file]
    if file.until is None and key_files.read_secret(settings, make=False) is None and not key_files.can_sign(others):
        raise StartError(f"{kid} is the only key that signs; make another first: gateway keys new")
    if now or ended:
        file.path.unlink()
        _note(settings, "key_removed", kid)
        typer.echo(f"removed {file.path}; within {REREAD_SECONDS} seconds no gateway accepts its tokens")
        if not ended:
            typer.echo("Connections with such a token stay open until it ends; a restart ends them now.")
        return
    if file.until is None:
        file = key_files.retire_file(file, time + REREAD_SECONDS + MAX_LIFETIME_SECONDS)
        _note(settings, "key_retired", kid)
    assert file.until is not None  # noqa: S101 - set above
    typer.echo(f"{kid} no longer signs, and verifies until {_time(file.until)}; after that, this command removes it")


def _note(settings: Settings, event: str, kid: str) -> None:
    make_data_dir(settings.data_dir)
    with Audit(settings.audit_path, SystemClock()) as audit:
        audit.record(event, operator(), kid=kid)


def _state(file: KeyFile, signing: str, now: float) -> str:
    if file.until is not None:
        return f"verifies until {_time(file.until)}" if now < file.until else "ended; retire it again to remove it"
    if file.key.kid == signing:
        return "signs"
    begins = file.made_at + SIGNS_AFTER_SECONDS
    return f"signs from {_time(begins)}" if now < begins else "verifies"


def _time(seconds: float) -> str:
    return timestamp(int(seconds) * 1000)[:-5] + "Z"
