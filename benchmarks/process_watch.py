"""What a process takes while a block runs: memory, files, bytes written to disks. Needs Linux' /proc."""

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

SAMPLE_SECONDS = 0.01


class ProcessWatch:
    """Looks every 10 ms; `growth_bytes` is the highest resident size over that of the start."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._known_files = self._list_files()
        self._rss_at_start = self._read_rss()
        self._written_at_start = self._read_written()
        self._rss_highest = self._rss_at_start
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-watch")
        self.new_files: set[str] = set()
        self.written_bytes = 0

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.written_bytes = self._read_written() - self._written_at_start

    @property
    def growth_bytes(self) -> int:
        return self._rss_highest - self._rss_at_start

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._rss_highest = max(self._rss_highest, self._read_rss())
            self.new_files |= self._list_files() - self._known_files

    def _read_rss(self) -> int:
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _read_written(self) -> int:
        """Dirtied pages of files: what goes to a socket is not among them."""
        lines = dict(line.split(": ") for line in (self._proc / "io").read_text().splitlines())
        return int(lines["write_bytes"])

    def _list_files(self) -> set[str]:
        """Regular files, those without a name included."""
        found = set()
        for link in (self._proc / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if stat.S_ISREG(link.stat().st_mode):
                    found.add(str(link.readlink()))
        return found
