"""Inspects good pictures and one that is too much for the memory of a decoder; says what became of each."""

import json
import resource
import sys
from pathlib import Path

from core.images import ImageLimits
from core.ingest.decoders import Decoders
from core.ingest.pictures import Inspected
from tests.pictures import encode, make_picture

TOO_MUCH = 300 * 1024**2


class Batch:
    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents


def main() -> None:
    good = [encode(make_picture(seed)) for seed in range(3)]
    batches = [Batch(good), Batch([good[0], bytes(TOO_MUCH), good[1]]), Batch(good)]
    limit = _measure_address_space() + TOO_MUCH - 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    decoders = Decoders(2, ImageLimits())
    with decoders.running():
        found = [inspections for _, inspections in decoders.inspect(batches)]
    sys.stdout.write(
        json.dumps([["good" if isinstance(one, Inspected) else one.code for one in batch] for batch in found])
    )


def _measure_address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
