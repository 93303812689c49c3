"""`bitune backbones`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from cli.database import transaction
from cli.environment import load_settings, make_environment
from cli.errors import LocalStackError
from cli.options import HomeOption
from cli.registration_process import run_registration
from core.backbones import list_backbones

app = typer.Typer(help="Pre-trained weights that jobs start from.", no_args_is_help=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="timm's name of the architecture, e.g. resnet50.a1_in1k.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A .safetensors file or a checkpoint of torch, MoCo's and DINO's among them.", exists=True
        ),
    ] = None,
    from_hub: Annotated[bool, typer.Option("--from-hub", help="Download timm's own weights.")] = False,
    home: HomeOption = Path(".bitune"),
) -> None:
    """Put the weights of a backbone into the store; adding it again replaces them for new jobs."""
    if source is None and not from_hub:
        source = _find_bundled(name)
    if source is not None and from_hub:
        raise LocalStackError("give --from FILE or --from-hub, not both")
    summary = run_registration(name, source, make_environment(load_settings(home)))
    typer.echo(f"The backbone {name} is registered.\n{summary}".rstrip())


@app.command(name="list")
def show(home: HomeOption = Path(".bitune")) -> None:
    """Show the registered backbones."""
    with transaction(load_settings(home)) as session:
        rows = list_backbones(session)
    table = Table("name", "parameters", "MB", "SHA-256")
    for row in rows:
        parameters = f"{row.description['num_parameters'] / 1e6:.1f} M"
        table.add_row(row.name, parameters, f"{row.size_bytes / 1e6:.0f}", row.sha256)
    Console().print(table)


def _find_bundled(name: str) -> Path:
    if name != BUNDLED_NAME:
        raise LocalStackError(f"say where the weights of {name} come from: --from FILE or --from-hub")
    return find_bundled_weights()
