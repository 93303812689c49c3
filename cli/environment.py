"""How the processes of the local stack, and commands in another terminal, learn where its servers are."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from cli.errors import LocalStackError
from cli.home import Home
from core.settings import Settings

FILE_NAME = "environment.json"


def make_environment(settings: Settings) -> dict[str, str]:
    return {
        "BITUNE_DATABASE_URL": settings.database_url.get_secret_value(),
        "BITUNE_BROKER_URL": settings.broker_url.get_secret_value(),
        "BITUNE_S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "BITUNE_S3_PUBLIC_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "BITUNE_S3_BUCKET": settings.s3_bucket,
        "BITUNE_S3_ACCESS_KEY_ID": settings.s3_access_key_id.get_secret_value(),
        "BITUNE_S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value(),
        "BITUNE_HOME": str(settings.home),
        "BITUNE_URL_ALLOWED_HOSTS": ",".join(settings.url_allowed_hosts),
        "BITUNE_S3_IMPORT_BUCKETS": ",".join(settings.s3_import_buckets),
    }


def write_environment(home: Home, environment: Mapping[str, str]) -> None:
    home.write_secret(FILE_NAME, json.dumps(environment))


def load_environment(home: Path) -> dict[str, str]:
    """This process's environment, and what the local stack in `home` left there when it names no database."""
    written = home / FILE_NAME
    if "BITUNE_DATABASE_URL" in os.environ or not written.exists():
        return dict(os.environ)
    stack: dict[str, str] = json.loads(written.read_text())
    return {**os.environ, **stack}


def load_settings(home: Path) -> Settings:
    """Raises LocalStackError when a setting is missing or wrong."""
    os.environ.update(load_environment(home))
    try:
        return Settings()
    except ValidationError as exc:
        names = ", ".join(f"BITUNE_{str(error['loc'][0]).upper()}" for error in exc.errors())
        raise LocalStackError(
            f"these settings are missing or wrong: {names}; set them, or start the local stack with `bitune up`"
        ) from exc
