"""What a process says, read line by line."""

import json
import subprocess
import sys
from typing import Any

SAYS = """
import logging, threading, warnings
import structlog
from core.log import configure_logging, keep_ids

log = structlog.get_logger("core.here")
logging.getLogger("celery.worker").addHandler(logging.StreamHandler())
configure_logging("info", worker_id="worker_a")
with structlog.contextvars.bound_contextvars(run_id="run_a"):
    log.info("ours", step=1)
    logging.getLogger("celery.worker").info("a server's %s", "line")
    logging.getLogger("httpx").info("GET https://host/a.zip?signature=secret")
    logging.getLogger("botocore").warning("a library's warning")
    warnings.warn("an old function", stacklevel=1)
    thread = threading.Thread(target=keep_ids(lambda: log.info("in a thread")))
log.debug("not at this level")
thread.start()
thread.join()
try:
    1 / 0
except ZeroDivisionError:
    log.exception("crashed")
"""


def listen() -> list[dict[str, Any]]:
    result = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_every_line_is_an_object_with_the_same_keys() -> None:
    lines = listen()

    events = [line["event"].split("\n")[0] for line in lines]
    assert events[:3] == ["ours", "a server's line", "a library's warning"]
    assert "an old function" in events[3]
    assert events[4:] == ["in a thread", "crashed"]
    assert all({"event", "level", "logger", "timestamp", "worker_id"} <= line.keys() for line in lines)


def test_ids_are_in_all_lines_of_their_block_and_in_no_other() -> None:
    assert [line.get("run_id") for line in listen()] == ["run_a"] * 5 + [None]


def test_exception_is_part_of_its_line() -> None:
    assert "ZeroDivisionError: division by zero" in listen()[-1]["exception"]
