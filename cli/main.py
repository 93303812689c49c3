"""The `bitune` command."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import backbones, keys, quotas
from cli.commands import become, make_api_command, make_api_environment, make_worker_command
from cli.demo_command import run_demo
from cli.doctor import diagnose
from cli.environment import load_settings
from cli.gc import collect_orphans
from cli.local_stack import run_local_stack
from cli.migration import prepare_servers
from cli.options import HomeOption, Queue
from cli.sentences import SentenceGroup
from cli.summary import print_summary

app = typer.Typer(
    cls=SentenceGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they hold passwords
    help="Fine-tunes image classifiers with Bi-tuning, as a REST API.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(quotas.app, name="quotas")
app.add_typer(backbones.app, name="backbones")


@app.command()
def up(
    home: HomeOption = Path(".bitune"),
    port: Annotated[int, typer.Option(help="Where the API listens; 0 is any free port.", min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A host with a private address that dataset URLs may name. Can be repeated."),
    ] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Valkey, SeaweedFS, API, train worker, importer."""
    console = Console()
    started = time.monotonic()
    with run_local_stack(home, port=port, allowed_hosts=tuple(allow_host or ()), console=console) as stack:
        print_summary(stack, console, seconds=time.monotonic() - started)
        try:
            stack.supervise()
        except KeyboardInterrupt:
            console.print("\nStopping …")


@app.command()
def serve(home: HomeOption = Path(".bitune")) -> None:
    """Run the API alone; where its servers are is set by BITUNE_* variables."""
    settings = load_settings(home)
    command = make_api_command(host=settings.host, port=settings.port, log_level=settings.log_level)
    become(command, make_api_environment(os.environ))


@app.command()
def worker(
    queue: Annotated[Queue, typer.Option(help="What it runs.")] = Queue.TRAIN, home: HomeOption = Path(".bitune")
) -> None:
    """Run one worker process; where its servers are is set by BITUNE_* variables."""
    settings = load_settings(home)
    os.environ["BITUNE_WORKER_QUEUE"] = queue
    become(make_worker_command(queue, log_level=settings.log_level))


@app.command()
def migrate(home: HomeOption = Path(".bitune")) -> None:
    """Bring the database to the newest schema, make the bucket and claim it; doing it twice is fine."""
    prepare_servers(load_settings(home))
    typer.echo("The database is at the newest schema, and the bucket is there and belongs to it.")


@app.command()
def gc(
    home: HomeOption = Path(".bitune"),
    delete: Annotated[bool, typer.Option("--delete", help="Delete what was found.")] = False,
    min_age_hours: Annotated[float, typer.Option(help="Younger objects are left alone.", min=1)] = 24.0,
) -> None:
    """Show what the object store holds and no row knows: what killed attempts left. Deletes only with --delete."""
    collect_orphans(load_settings(home), Console(), delete=delete, min_age_hours=min_age_hours)


@app.command()
def doctor(home: HomeOption = Path(".bitune")) -> None:
    """Ask everything that Bitune needs, and say what is wrong; exits 1 when something is."""
    if not diagnose(load_settings(home), Console()):
        raise typer.Exit(1)


@app.command()
def demo(home: HomeOption = Path(".bitune/demo")) -> None:
    """Fine-tune on real pictures of solar cells and show how good the model is; takes a few minutes."""
    run_demo(home)


if __name__ == "__main__":
    app()
