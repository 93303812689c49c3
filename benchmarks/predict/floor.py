"""What the machine can do without a server: decode, prepare and predict in a plain loop, in a process of its own."""

import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.predict.figures import find_percentile
from benchmarks.predict.pictures import read_pictures
from benchmarks.predict.published import ModelFiles
from core.images import ImageLimits, decode_rgb
from core.inference.freed_memory import keep_freed_memory
from core.inference.predictor import Predictor
from core.inference.preprocessing import Preprocessing, prepare

BATCH_SIZE = 32
WARM_UP_BATCHES = 2
LIMITS = ImageLimits()


class FloorTask(NamedTuple):
    files: ModelFiles
    pictures: Path
    seconds: float
    device: str


class Floor(NamedTuple):
    images_per_second: float  # a batch decoded by as many threads as there are cores, then predicted
    one_thread_per_second: float  # decoded by one thread
    single_ms: float  # p50 of decode, prepare and predict of one picture


def measure_floor_apart(task: FloorTask) -> Floor:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(_measure_floor, (task,))


def decode(content: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(S, S, 3), as the API's decoders do it."""
    return prepare(decode_rgb(content, LIMITS), preprocessing)


def _measure_floor(task: FloorTask) -> Floor:
    keep_freed_memory()
    card = task.files.read_card()
    predictor = Predictor.load(task.files.weights, card, device=torch.device(task.device))
    contents = itertools.cycle(read_pictures(task.pictures))
    run = partial(_run_batches, predictor, card.preprocessing, contents)
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as many, ThreadPoolExecutor(1) as one:
        run(many, seconds=0)
        return Floor(
            images_per_second=run(many, seconds=task.seconds),
            one_thread_per_second=run(one, seconds=task.seconds),
            single_ms=_measure_single(predictor, card.preprocessing, contents, task.seconds),
        )


def _run_batches(
    predictor: Predictor,
    preprocessing: Preprocessing,
    contents: Iterator[bytes],
    threads: ThreadPoolExecutor,
    *,
    seconds: float,
) -> float:
    """Images per second, at least of a few batches."""
    began_at, batches = time.monotonic(), 0
    while time.monotonic() - began_at < seconds or batches < WARM_UP_BATCHES:
        batch = list(itertools.islice(contents, BATCH_SIZE))
        predictor.predict(np.stack(list(threads.map(partial(decode, preprocessing=preprocessing), batch))))
        batches += 1
    return batches * BATCH_SIZE / (time.monotonic() - began_at)


def _measure_single(
    predictor: Predictor, preprocessing: Preprocessing, contents: Iterator[bytes], seconds: float
) -> float:
    stop_at, taken_ms = time.monotonic() + seconds, []
    while (began_at := time.monotonic()) < stop_at:
        predictor.predict(decode(next(contents), preprocessing)[None])
        taken_ms.append(1000 * (time.monotonic() - began_at))
    return find_percentile(taken_ms, 50)
