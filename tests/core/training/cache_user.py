"""`python -m tests.core.training.cache_user CACHE DATASET PREPROCESSING`: opens a cache and says what it does.

After `building` and after `opened` it goes on with the next line of input; `waiting` is only said.
"""

import sys
from pathlib import Path

from core.inference.preprocessing import Preprocessing
from core.training.cache import open_cache
from tests.core.training.caches import make_cache_source


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_progress(done: int) -> None:
    if done == 0:
        say("waiting")
    if done == 1:
        say("building")
        sys.stdin.readline()


if __name__ == "__main__":
    cache_dir, dataset_dir = map(Path, sys.argv[1:3])
    preprocessing = Preprocessing.model_validate_json(sys.argv[3])
    cache = open_cache(cache_dir, make_cache_source(dataset_dir, preprocessing), on_progress=say_progress)
    say("opened")
    sys.stdin.readline()
