"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path, typer.Option(help="The folder of the local stack: data, logs, secrets.", envvar="BITUNE_HOME")
]


class Queue(StrEnum):
    TRAIN = "train"
    IMPORTS = "imports"
