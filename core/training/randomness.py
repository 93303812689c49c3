"""Randomness without state: numbers that follow from (seed, epoch, sample, view), so a resumed run draws the same."""

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def make_sample_keys(sample_ids: list[str]) -> NDArray[np.uint64]:
    """One 64-bit key a sample (N,), made once."""
    digests = b"".join(hashlib.sha256(sample_id.encode()).digest()[:8] for sample_id in sample_ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def draw_uniform(
    sample_keys: NDArray[np.uint64], count: int, *, seed: int, epoch: int, view: int
) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for each sample, (B, count): SplitMix64 (Steele et al. 2014) used as a counter."""
    stream = np.uint64(_hash_int("view", seed, epoch, view))
    counters = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    mixed = _mix(_mix(sample_keys ^ stream)[:, None] + counters)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def draw_order(sample_keys: NDArray[np.uint64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of the samples (N,) for one epoch."""
    stream = np.uint64(_hash_int("order", seed, epoch))
    return np.argsort(_mix(sample_keys ^ stream), kind="stable")


def draw_balanced_order(
    sample_keys: NDArray[np.uint64], labels: NDArray[np.int64], *, seed: int, epoch: int
) -> NDArray[np.int64]:
    """As many places as there are samples (N,), every class equally often (one more or less) whatever its size."""
    shuffled = draw_order(sample_keys, seed=seed, epoch=epoch)
    classes = np.unique(labels)
    quotas = np.full(len(classes), len(labels) // len(classes))
    quotas[: len(labels) % len(classes)] += 1
    chosen = [
        np.resize(shuffled[labels[shuffled] == label], quota) for label, quota in zip(classes, quotas, strict=True)
    ]
    places = np.concatenate(chosen)
    stream = np.uint64(_hash_int("balanced", seed, epoch))
    return places[np.argsort(_mix(np.arange(len(places), dtype=np.uint64) * _GOLDEN ^ stream), kind="stable")]


def draw_class_scores(num_classes: int, *, seed: int, step: int) -> NDArray[np.float64]:
    """One number in [0, 1) a class (C,)."""
    stream = np.uint64(_hash_int("classes", seed, step))
    mixed = _mix(_mix(np.arange(num_classes, dtype=np.uint64) * _GOLDEN ^ stream))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _hash_int(*parts: str | int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")
