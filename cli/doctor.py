"""`bitune doctor`: asks everything that Bitune needs, and says what is wrong and what to do."""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from cli.doctor_checks import AdviceError, list_host_checks, list_server_checks, list_service_checks
from core.db.session import make_engine, make_session_factory
from core.dispatch import Dispatcher
from core.health import Findings, Probes, list_checks
from core.settings import Settings
from core.storage import Storage
from core.storage_client import IMPATIENT

PROBE_SECONDS = 3.0
HINTS = {
    "database": "is PostgreSQL running, and is BITUNE_DATABASE_URL right?",
    "migrations": "run `bitune migrate`",
    "broker": "is Redis running, and is BITUNE_BROKER_URL right? Without it jobs start up to 30 s later",
    "storage": "is the object store running, and are BITUNE_S3_* right? `bitune migrate` makes the bucket",
    "conditional writes": "checkpoints need `If-None-Match`: take a store that has it, as AWS S3, MinIO or SeaweedFS",
    "broker policy": "set `maxmemory-policy noeviction`: an evicted hint delays a job by up to 30 s",
    "connections": "raise PostgreSQL's max_connections, or lower BITUNE_DATABASE_POOL_SIZE or the number of processes",
    "clock": "set the clocks of this host and the database's by NTP: ages of objects are compared with rows",
    "worker (train)": "start one: `bitune worker --queue train`",
    "worker (imports)": "start one: `bitune worker --queue imports`",
    "versions": "deploy the same version everywhere; a worker that is stopped hands its jobs back",
    "backbone": "add one: `bitune backbones add`",
    "disk": "free some space below BITUNE_HOME",
}
NEEDS = {
    "migrations": "database",
    "connections": "database",
    "clock": "database",
    "worker (train)": "database",
    "worker (imports)": "database",
    "versions": "database",
    "backbone": "database",
    "broker policy": "broker",
    "conditional writes": "storage",
}


def diagnose(settings: Settings, console: Console) -> bool:
    """Prints a line for each check; whether nothing has failed."""
    findings = _ask(settings)
    for name in HINTS:
        console.print(_describe(name, findings, settings), highlight=False, soft_wrap=True)
    return all(error is None or isinstance(error, AdviceError) for error in findings.values())


def _ask(settings: Settings) -> Findings:
    engine = make_engine(settings.database_url.get_secret_value())
    dispatcher = Dispatcher(settings.broker_url.get_secret_value())
    storage = Storage.from_settings(settings, IMPATIENT)
    checks = (
        list_checks(engine, dispatcher, storage)
        | list_server_checks(settings, make_session_factory(engine), storage)
        | list_service_checks(make_session_factory(engine))
        | list_host_checks(settings)
    )
    try:
        return asyncio.run(Probes(checks, seconds=PROBE_SECONDS).ask())
    finally:
        dispatcher.close()
        engine.dispose()


def _describe(name: str, findings: Mapping[str, Exception | None], settings: Settings) -> str:
    error, server = findings[name], NEEDS.get(name)
    if error is None:
        return f"[green]ok[/]     {name}"
    if server is not None and findings[server] is not None:
        return f"[red]failed[/] {name}: not known without the {server}"
    verdict = "[yellow]warn[/]  " if isinstance(error, AdviceError) else "[red]failed[/]"
    return f"{verdict} {name}: {escape(_redact(_read_text(error), settings))}; {escape(HINTS[name])}"


def _read_text(error: Exception) -> str:
    """In one line."""
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    return " ".join(text.split())[:300] or type(error).__name__


def _redact(text: str, settings: Settings) -> str:
    for secret in _list_secrets(settings):
        text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
    return text


def _list_secrets(settings: Settings) -> list[str]:
    urls = (settings.database_url.get_secret_value(), settings.broker_url.get_secret_value())
    passwords = [make_url(url).password or "" for url in urls]
    secrets = [
        *passwords,
        settings.s3_access_key_id.get_secret_value(),
        settings.s3_secret_access_key.get_secret_value(),
    ]
    return [secret for secret in secrets if secret]
