"""`bitune quotas`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.database import transaction
from cli.environment import load_settings
from cli.errors import LocalStackError
from cli.options import HomeOption
from core.keys import DEFAULT_PROJECT, get_project_id
from core.quotas import QuotaName, Quotas, read_quotas, read_usage, reset_quota, set_quota

app = typer.Typer(help="What a project may have.", no_args_is_help=True)
ProjectOption = Annotated[str, typer.Option(help="Whose.")]


@app.callback()
def quotas() -> None:
    """What a project may have."""


@app.command()
def show(project: ProjectOption = DEFAULT_PROJECT, home: HomeOption = Path(".bitune")) -> None:
    """Show what a project may have, what it has, and what the settings say."""
    settings = load_settings(home)
    defaults = Quotas.from_settings(settings)
    with transaction(settings) as session:
        project_id = get_project_id(session, project)
        limits = read_quotas(session, project_id, defaults)
        used = read_usage(session, project_id)._asdict()
    table = Table("quota", "limit", "used", "setting")
    for name in QuotaName:
        table.add_row(name, _format(limits.get(name)), str(used.get(name, "")), _format(defaults.get(name)))
    Console().print(table)


@app.command(name="set")
def change(
    name: Annotated[QuotaName, typer.Argument(help="Which.")],
    value: Annotated[str, typer.Argument(help="A number; `none` is no limit; `default` is what the settings say.")],
    project: ProjectOption = DEFAULT_PROJECT,
    home: HomeOption = Path(".bitune"),
) -> None:
    """Give a project a quota of its own; it holds from the next request on."""
    with transaction(load_settings(home)) as session:
        project_id = get_project_id(session, project)
        if value == "default":
            reset_quota(session, project_id, name)
        else:
            set_quota(session, project_id, name, _parse(value))
    typer.echo(f"The quota {name} of the project '{project}' is {value}.")


def _parse(value: str) -> int | None:
    if value == "none":
        return None
    if not value.isdecimal() or int(value) >= 2**63:
        raise LocalStackError(f"'{value}' is neither a number nor `none` nor `default`")
    return int(value)


def _format(limit: int | None) -> str:
    return "none" if limit is None else f"{limit}"
