"""What came of one abuse."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    group: str
    name: str
    expected: Literal["accept", "refuse"]
    got: str  # 'accept', 'refuse', 'crash', 'leak'
    code: str
    seconds: float
    rss_mb: float
