"""The API, except that it kills itself at a moment of a request with an Idempotency-Key, which a file names.

Such a request commits twice: when it takes its key, and when it creates.
"""

import inspect
import os
import signal
from functools import partial
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.orm import Session
from starlette.types import ASGIApp

from api import main

MOMENT_FILE_VARIABLE = "BITUNE_TEST_DIES_AT"  # the file holds `before-1`, `after-1`, `before-2` or `after-2`


def create_app() -> ASGIApp:
    commits = _Commits(Path(os.environ[MOMENT_FILE_VARIABLE]))
    for side in ("before", "after"):
        event.listen(Session, f"{side}_commit", partial(commits.reach, side))
    return main.create_app()


class _Commits:
    def __init__(self, moment_file: Path) -> None:
        self._moment = moment_file.read_text()
        self._number = 0

    def reach(self, side: str, _: Session) -> None:
        if not any(frame.function == "create_once" for frame in inspect.stack(context=0)):
            return
        self._number += side == "before"
        if f"{side}-{self._number}" == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)
