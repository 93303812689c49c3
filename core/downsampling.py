"""Fewer points of a series that look the same in a plot."""

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    x: float
    y: float


def choose_points(points: Sequence[Point], limit: int) -> list[int]:
    """Indices of at most `limit` points, the first and the last among them, in ascending order of `x`.

    Largest-Triangle-Three-Buckets (Steinarsson 2013, "Downsampling Time Series for Visual Representation", 4.2): from
    each bucket the point that spans the largest triangle with the one chosen before and the mean of the next bucket.
    O(n); `limit` is 3 or more.
    """
    count = len(points)
    if count <= limit:
        return list(range(count))
    width = (count - 2) / (limit - 2)
    edges = [1 + int(width * number) for number in range(limit - 1)]
    chosen = [0]
    for begin, end, after in zip(edges[:-1], edges[1:], [*edges[2:], count], strict=True):
        ahead = points[end:after] or points[-1:]
        mean = Point(sum(point.x for point in ahead) / len(ahead), sum(point.y for point in ahead) / len(ahead))
        left = points[chosen[-1]]
        chosen.append(max(range(begin, end), key=lambda index: _measure(left, points[index], mean)))
    return [*chosen, count - 1]


def _measure(left: Point, middle: Point, right: Point) -> float:
    """Twice the area; 0 for what is not a number, so that it is never preferred."""
    area = abs((left.x - right.x) * (middle.y - left.y) - (left.x - middle.x) * (right.y - left.y))
    return area if area == area else 0.0  # noqa: PLR0124 - false for NaN alone
