"""`bitune keys`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from cli.database import transaction
from cli.environment import load_settings
from cli.options import HomeOption
from core.db.tables import Key
from core.keys import ALL_SCOPES, DEFAULT_PROJECT, create_key, ensure_project, get_project_id, list_keys, revoke_key
from core.paging import PageRequest

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """API keys."""


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(ALL_SCOPES),
    project: Annotated[str, typer.Option(help="Whose key it is; made if it is new.")] = DEFAULT_PROJECT,
    expires_in_days: Annotated[int | None, typer.Option(help="Never, when it is not given.", min=1, max=3650)] = None,
    home: HomeOption = Path(".bitune"),
) -> None:
    """Make an API key and print its secret, which is shown this once."""
    wanted = tuple(scope.strip() for scope in scopes.split(",") if scope.strip())
    with transaction(load_settings(home)) as session:
        project_id = ensure_project(session, project)
        made = create_key(session, project_id=project_id, name=name, scopes=wanted, expires_in_days=expires_in_days)
    typer.echo(f"The key {made.id} of the project '{project}'; its secret is shown this once:", err=True)
    typer.echo(made.secret)


@app.command(name="list")
def show(
    project: Annotated[str, typer.Option(help="Whose keys.")] = DEFAULT_PROJECT, home: HomeOption = Path(".bitune")
) -> None:
    """Show the keys of a project, the newest first; their secrets are known to nobody."""
    table = Table("id", "name", "scopes", "made", "expires", "last used", "state")
    with transaction(load_settings(home)) as session:
        for key in _list_all(session, get_project_id(session, project)):
            state = _describe_state(key)
            times = [_format_time(time) for time in (key.created_at, key.expires_at, key.last_used_at)]
            table.add_row(key.id, key.name, ",".join(key.scopes), *times, state)
    Console().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `bitune keys list` shows it.")],
    project: Annotated[str, typer.Option(help="Whose key it is.")] = DEFAULT_PROJECT,
    home: HomeOption = Path(".bitune"),
) -> None:
    """Make a key useless from the next request on."""
    with transaction(load_settings(home)) as session:
        revoke_key(session, get_project_id(session, project), key_id)
    typer.echo(f"The key {key_id} is revoked.")


def _list_all(session: Session, project_id: str) -> Iterator[Key]:
    after = None
    while True:
        page = list_keys(session, project_id, PageRequest(after=after, limit=100))
        yield from page.rows
        if not page.has_more:
            return
        after = page.rows[-1].id


def _describe_state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "valid"


def _format_time(time: datetime | None) -> str:
    return "—" if time is None else f"{time:%Y-%m-%d %H:%M}"
