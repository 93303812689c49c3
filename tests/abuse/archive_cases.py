"""What the cases of the corpus are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from core.ingest.limits import IngestLimits
from tests.pictures import Member, encode, make_picture

SIZE = (20, 16)
TAKEN = "2 classes, 12 samples, train+test"  # what is said of the dataset that `make_set` makes


@dataclass(frozen=True)
class ArchiveCase:
    """`code` is that of the refusal, or what is said of the dataset."""

    name: str
    expected: Literal["accept", "refuse"]
    code: str
    make: Callable[[], bytes]
    limits: IngestLimits | None = None


@cache
def make_set(seed: int, *, classes: tuple[str, ...] = ("cat", "dog"), count: int = 6) -> tuple[Member, ...]:
    """A folder a class, of small pictures that all differ."""
    return tuple(
        (f"{name}/{index}.png", encode(make_picture(1_000_000 * seed + 1_000 * number + index, SIZE)))
        for number, name in enumerate(classes)
        for index in range(count)
    )


def accept(name: str, make: Callable[[], bytes], code: str = TAKEN, limits: IngestLimits | None = None) -> ArchiveCase:
    return ArchiveCase(name, "accept", code, make, limits)


def refuse(name: str, code: str, make: Callable[[], bytes], limits: IngestLimits | None = None) -> ArchiveCase:
    return ArchiveCase(name, "refuse", code, make, limits)
