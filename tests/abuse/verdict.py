"""What a group of the abuse suite says about one attack, and about one honest request beside them."""

from dataclasses import dataclass
from typing import Literal

Expected = Literal["accept", "refuse"]
Got = Literal["accept", "refuse", "crash", "leak"]


@dataclass(frozen=True)
class Verdict:
    """A group is a function that yields one of these for each of its cases."""

    group: str
    name: str
    expected: Expected
    got: Got
    code: str  # of the refusal, or what was accepted
    seconds: float
    rss_mb: float  # peak of the process that had to do with it
    expected_code: str | None = None  # None is any

    @property
    def is_right(self) -> bool:
        return self.got == self.expected and self.expected_code in {None, self.code}
