"""`bitune keys`."""

from pathlib import Path
from typing import Annotated

import typer

from cli.database import transaction
from cli.environment import load_settings
from cli.options import HomeOption
from core.keys import ALL_SCOPES, DEFAULT_PROJECT, create_key, ensure_project

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """API keys."""


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(ALL_SCOPES),
    project: Annotated[str, typer.Option(help="Whose key it is; made if it is new.")] = DEFAULT_PROJECT,
    home: HomeOption = Path(".bitune"),
) -> None:
    """Make an API key and print its secret, which is shown this once."""
    wanted = tuple(scope.strip() for scope in scopes.split(",") if scope.strip())
    with transaction(load_settings(home)) as session:
        made = create_key(session, project_id=ensure_project(session, project), name=name, scopes=wanted)
    typer.echo(f"The key {made.id} of the project '{project}'; its secret is shown this once:", err=True)
    typer.echo(made.secret)
