"""Structured logs: one JSON object a line on standard error, whoever says it; a short event name and fields."""

import contextvars
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

OURS = ("api", "cli", "core", "worker")
SERVERS = ("celery", "uvicorn")  # of other libraries only warnings: httpx tells every URL, signatures included


def configure_logging(level: str, **ids: str) -> None:
    """Routes all of this process's logging here; `ids` are in every line of it."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        partial(_add_ids, ids=ids),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    _route_standard_logging(shared, number)


def keep_ids(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """For a thread: it starts with none of the ids that its creator has bound."""
    return partial(contextvars.copy_context().run, function)


class _StandardError(logging.Handler):
    """Whatever standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def _route_standard_logging(shared: list[Processor], level: int) -> None:
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in (*OURS, *SERVERS):
        logging.getLogger(name).setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(SERVERS):
            _hand_up(logging.getLogger(name))
    logging.captureWarnings(True)


def _hand_up(logger: logging.Logger) -> None:
    """A server's own handlers would write a second line that is not JSON; what it has switched off stays so."""
    if logger.handlers:
        logger.handlers = []
        logger.propagate = True


def _add_ids(_: WrappedLogger, __: str, event: EventDict, *, ids: dict[str, str]) -> EventDict:
    return {**ids, **event}
