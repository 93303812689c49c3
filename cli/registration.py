"""`python -m cli.registration NAME [FILE]`: puts the weights of a backbone into the store and makes them known.

Without FILE they come from the hub; of FILE it prints what was taken. A process of its own, because it needs torch
and nothing else of `cli` does.
"""

import sys
import tempfile
from pathlib import Path

import typer

from cli.database import transaction
from core.backbones import register_backbone, store_weights
from core.errors import BituneError
from core.inference.backbone_catalog import describe_backbone
from core.inference.backbone_weights import convert_weights, fetch_from_hub
from core.settings import Settings
from core.storage import Storage


def register(name: str, source: Path | None) -> None:
    settings = Settings()
    description = describe_backbone(name)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        if source is None:
            fetch_from_hub(name, weights)
        else:
            typer.echo(convert_weights(source, name, weights).summarize())
        stored = store_weights(Storage.from_settings(settings), name, weights)
    with transaction(settings) as session:
        register_backbone(session, description=description, stored=stored)


if __name__ == "__main__":
    try:
        register(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    except BituneError as exc:
        sys.exit(f"{exc.message}\n{exc.hint}".strip())
