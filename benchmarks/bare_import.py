"""What an import cannot do without: `python -m benchmarks.bare_import cells.zip` decodes and hashes, and keeps nothing.

In as many processes as there are cores; a script of its own, as the import is.
"""

import hashlib
import io
import multiprocessing
import os
import sys
import zipfile
from pathlib import Path

from PIL import Image


def main(archive: Path) -> None:
    count = os.cpu_count() or 1
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_decode_share, args=(archive, number, count)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _decode_share(archive: Path, first: int, step: int) -> None:
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist()[first::step]:
            with Image.open(io.BytesIO(members.read(name))) as picture:
                hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
