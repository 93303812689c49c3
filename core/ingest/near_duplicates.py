"""Finds pictures that look the same: recompressed, scaled, a little brighter, two frames of one film.

A 64 bit difference hash finds candidates, the correlation of 16 x 16 grey values confirms them. Hashes that differ in
at most 3 bits share one of four bands of 16 bits, so only neighbours in four sorted lists are compared: n log n, and
never more than WINDOW neighbours each, however many pictures are alike.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.ingest.pictures import SIGNATURE_BYTES, SIGNATURE_SIDE

MAX_DISTANCE = 3  # bits of the hash
MIN_CORRELATION = 0.99
MIN_CONTRAST = 2.0  # standard deviation of the grey values: of less, hash and correlation are noise
BAND_BITS = 16
WINDOW = 64  # neighbours that each picture is compared with in a band
ROWS_AT_ONCE = 4096

Signatures = NDArray[np.uint8]  # (N, 256)
Indices = NDArray[np.int64]
_COUNT_BITS = np.array([bin(value).count("1") for value in range(256)], np.uint8)


def group_near_duplicates(signatures: Signatures) -> list[list[int]]:
    """Groups of two or more, each in order, by their first member."""
    candidates = np.flatnonzero(_measure_contrast(signatures) >= MIN_CONTRAST)
    hashes = compute_hashes(signatures[candidates])
    groups = _Groups(len(signatures))
    for left, right in _pair_neighbours(hashes):
        first, second = candidates[left], candidates[right]
        apart = groups.roots(first) != groups.roots(second)
        first, second = first[apart], second[apart]
        alike = _correlate(signatures, first, second) >= MIN_CORRELATION
        groups.join(first[alike], second[alike])
    return groups.list_all()


def compute_hashes(signatures: Signatures) -> NDArray[np.uint64]:
    """(N, 256) -> (N,): whether it grows brighter from each of 9 columns to the next, in 8 rows (dHash)."""
    hashes = [np.zeros(0, np.uint64)]
    for start in range(0, len(signatures), ROWS_AT_ONCE):
        grey = signatures[start : start + ROWS_AT_ONCE].astype(np.float32)
        rows = grey.reshape(-1, SIGNATURE_SIDE // 2, 2, SIGNATURE_SIDE).mean(axis=2)  # (N, 8, 16)
        columns = rows @ _NINE_COLUMNS  # (N, 8, 9)
        bits = columns[:, :, 1:] > columns[:, :, :-1]
        hashes.append(np.packbits(bits.reshape(-1, 64), axis=1).view(">u8").ravel().astype(np.uint64))
    return np.concatenate(hashes)


def _make_nine_columns() -> NDArray[np.float32]:
    """Averages 16 columns to 9 by how much of each lies in which."""
    edges = np.linspace(0, SIGNATURE_SIDE, 10)
    starts = np.arange(SIGNATURE_SIDE)[:, None]
    shares = np.minimum(starts + 1, edges[1:]) - np.maximum(starts, edges[:-1])
    return (shares.clip(0) * 9 / SIGNATURE_SIDE).astype(np.float32)  # (16, 9)


_NINE_COLUMNS = _make_nine_columns()


def _measure_contrast(signatures: Signatures) -> NDArray[np.float32]:
    parts = [
        signatures[start : start + ROWS_AT_ONCE].std(axis=1, dtype=np.float32)
        for start in range(0, len(signatures), ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def _pair_neighbours(hashes: NDArray[np.uint64]) -> Iterator[tuple[Indices, Indices]]:
    """Pairs whose hashes differ in few bits; one pair may come from several bands."""
    for band in range(64 // BAND_BITS):
        shift = np.uint64(band * BAND_BITS)
        turned = (hashes << shift) | (hashes >> (np.uint64(64) - shift)) if band else hashes
        order = np.argsort(turned, kind="stable")
        values = hashes[order]
        keys = turned[order] >> np.uint64(64 - BAND_BITS)
        for distance in range(1, min(WINDOW, len(order) - 1) + 1):
            same_band = keys[distance:] == keys[:-distance]
            if not same_band.any():
                break
            near = same_band & (_count_different_bits(values[distance:], values[:-distance]) <= MAX_DISTANCE)
            places = np.flatnonzero(near)
            yield order[places], order[places + distance]


def _count_different_bits(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    different = np.ascontiguousarray(left ^ right).view(np.uint8).reshape(-1, 8)
    counts: NDArray[np.int64] = _COUNT_BITS[different].sum(axis=1, dtype=np.int64)
    return counts


def _correlate(signatures: Signatures, first: Indices, second: Indices) -> NDArray[np.float32]:
    """Pearson's, which neither brightness nor contrast changes."""
    parts = [np.zeros(0, np.float32)]
    for start in range(0, len(first), ROWS_AT_ONCE):
        left = _normalise(signatures[first[start : start + ROWS_AT_ONCE]])
        right = _normalise(signatures[second[start : start + ROWS_AT_ONCE]])
        parts.append(np.einsum("ij,ij->i", left, right) / SIGNATURE_BYTES)
    return np.concatenate(parts)


def _normalise(signatures: Signatures) -> NDArray[np.float32]:
    grey = signatures.astype(np.float32)
    normal: NDArray[np.float32] = (grey - grey.mean(axis=1, keepdims=True)) / grey.std(axis=1, keepdims=True)
    return normal


class _Groups:
    """Union-find whose roots are always up to date, so that they can be compared by the thousand."""

    def __init__(self, count: int) -> None:
        self._roots = np.arange(count)
        self._members: dict[int, list[int]] = {}

    def roots(self, indices: Indices) -> Indices:
        return self._roots[indices]

    def join(self, first: Indices, second: Indices) -> None:
        for left, right in zip(first.tolist(), second.tolist(), strict=True):
            self._join(int(self._roots[left]), int(self._roots[right]))

    def _join(self, root: int, other: int) -> None:
        if root == other:
            return
        members, others = (self._members.pop(one, [one]) for one in (root, other))
        large, small, kept = (members, others, root) if len(members) >= len(others) else (others, members, other)
        self._roots[small] = kept
        large.extend(small)
        self._members[kept] = large

    def list_all(self) -> list[list[int]]:
        return sorted(sorted(members) for members in self._members.values())
