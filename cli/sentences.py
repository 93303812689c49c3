"""Shows what a user can do something about in a sentence, without a traceback."""

import typer
from sqlalchemy.exc import OperationalError
from typer.core import TyperGroup

from cli.errors import LocalStackError
from core.errors import BituneError


class SentenceGroup(TyperGroup):
    """The exit code is 1."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # the base's Context has no public name
        try:
            return super().invoke(ctx)
        except LocalStackError as exc:
            message = str(exc)
        except BituneError as exc:
            message = f"{exc.message}\n{exc.hint}".strip()
        except OperationalError as exc:
            message = f"the database does not answer: {exc.orig}"
        typer.secho(message, fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
