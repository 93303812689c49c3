"""Metric series on the wire."""

import csv
from datetime import datetime
from io import StringIO

from pydantic import TypeAdapter

from api.schemas.common import ApiModel
from core.downsampling import Point, choose_points
from core.metric_series import MetricRecord


class MetricPoint(ApiModel):
    step: int
    epoch: int
    value: float
    at: datetime


Series = dict[str, list[MetricPoint]]
SERIES = TypeAdapter(Series)


def render_series(records: list[MetricRecord], name: str | None, *, max_points: int | None = None) -> Series:
    series: Series = {}
    for record in records:
        for key, value in record.values.items():
            if name is None or key == name:
                point = MetricPoint(step=record.step, epoch=record.epoch, value=value, at=record.at)
                series.setdefault(key, []).append(point)
    return series if max_points is None else {key: _thin(points, max_points) for key, points in series.items()}


def format_csv(series: Series) -> str:
    """One row a point."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "step", "epoch", "value", "at"])
    for name, points in series.items():
        writer.writerows([name, point.step, point.epoch, repr(point.value), point.at.isoformat()] for point in points)
    return out.getvalue()


def _thin(points: list[MetricPoint], limit: int) -> list[MetricPoint]:
    return [points[index] for index in choose_points([Point(point.step, point.value) for point in points], limit)]
