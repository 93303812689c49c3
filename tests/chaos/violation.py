"""What the checker finds."""

from typing import Literal, NamedTuple

Kind = Literal["lost", "doubled", "corrupted", "different", "left"]


class Violation(NamedTuple):
    """`job_id` is None where no single job is to blame."""

    kind: Kind
    invariant: str
    job_id: str | None
    text: str
