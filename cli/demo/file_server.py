"""Serves one folder on loopback, as some web server would serve a dataset."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cli.ports import LOOPBACK


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing: the terminal belongs to the progress bar."""


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address below which the files are."""
    with ThreadingHTTPServer((LOOPBACK, 0), partial(_QuietHandler, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
