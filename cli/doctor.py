"""`bitune doctor`: asks everything that Bitune needs, and says what is wrong."""

import asyncio
import shutil
from functools import partial

from rich.console import Console

from cli.database import transaction
from core.backbones import list_backbones
from core.db.session import make_engine
from core.dispatch import Dispatcher
from core.errors import BituneError
from core.health import Probes, list_checks
from core.settings import Settings
from core.storage import IMPATIENT, Storage
from core.workers import list_online

MIN_FREE_BYTES = 5 * 1024**3
HINTS = {
    "database": "is PostgreSQL running, and is BITUNE_DATABASE_URL right?",
    "migrations": "run `bitune migrate`",
    "broker": "is Redis running, and is BITUNE_BROKER_URL right? Without it jobs start up to 30 s later",
    "storage": "is the object store running, and are BITUNE_S3_* right? `bitune migrate` makes the bucket",
    "worker (train)": "start one: `bitune worker --queue train`",
    "worker (imports)": "start one: `bitune worker --queue imports`",
    "backbone": "add one: `bitune backbones add`",
    "disk": "free some space below BITUNE_HOME",
}


class FindingError(Exception):
    """What is wrong, in words."""


def diagnose(settings: Settings, console: Console) -> bool:
    """Prints a line for each check; whether all is well."""
    engine = make_engine(settings.database_url.get_secret_value())
    dispatcher = Dispatcher(settings.broker_url.get_secret_value())
    checks = list_checks(engine, dispatcher, Storage.from_settings(settings, IMPATIENT)) | {
        "worker (train)": partial(_check_worker, settings, "train"),
        "worker (imports)": partial(_check_worker, settings, "imports"),
        "backbone": partial(_check_backbone, settings),
        "disk": partial(_check_disk, settings),
    }
    findings = asyncio.run(Probes(checks).ask())
    for name, error in findings.items():
        _report(console, name, error)
    dispatcher.close()
    engine.dispose()
    return not any(findings.values())


def _report(console: Console, name: str, error: Exception | None) -> None:
    if error is None:
        console.print(f"[green]ok[/]     {name}", highlight=False)
    else:
        console.print(f"[red]failed[/] {name}: {_describe(error)}; {HINTS[name]}", highlight=False)


def _describe(error: Exception) -> str:
    if isinstance(error, BituneError | FindingError):
        return str(error)
    return type(error).__name__  # the text of a driver may hold a password


def _check_worker(settings: Settings, queue: str) -> None:
    with transaction(settings) as session:
        if not any(worker.queue == queue for worker in list_online(session)):
            raise FindingError("none is online")


def _check_backbone(settings: Settings) -> None:
    with transaction(settings) as session:
        if not list_backbones(session):
            raise FindingError("none is registered")


def _check_disk(settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < MIN_FREE_BYTES:
        raise FindingError(f"{free / 1024**3:.1f} GiB are free, {MIN_FREE_BYTES / 1024**3:.0f} are wanted")
