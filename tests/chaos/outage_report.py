"""What became of an outage: good or not, and its row in the table."""

import math
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.chaos.outage_requests import Asker, ServerName

ANSWER_SECONDS = 10.0
COLUMNS = (
    "server",
    "fault",
    "answers",
    "503",
    "wrong answers",
    "slowest (s)",
    "well again (s)",
    "jobs, uploads",
    "lost or different",
    "most attempts",
)


@dataclass
class Outcome:
    """One server away once: what its users saw, and what became of what they had asked for."""

    server: ServerName
    fault: str
    askers: list[Asker] = field(default_factory=list)
    recovered_seconds: float = 0.0
    followed: int = 0  # jobs and uploads
    strayed: list[str] = field(default_factory=list)  # those of them that did not end as they should
    attempts: int = 0  # of the job that took most

    def count_statuses(self) -> Counter[int]:
        return Counter(answer.status for asker in self.askers for answer in asker.answers)

    def count_wrong(self) -> Counter[str]:
        """Answers by what was asked for. No answer at all has status 0, and is never right."""
        wrong: Counter[str] = Counter()
        for asker in self.askers:
            question, right = asker.question, asker.question.find_right(self.server)
            if not asker.answers:
                wrong[f"{question.method} {question.path}: never asked"] += 1
            for answer in asker.answers:
                if answer.status not in right:
                    wrong[f"{question.method} {question.path}: {answer.status}"] += 1
                elif answer.status == httpx.codes.SERVICE_UNAVAILABLE and not answer.has_retry_after:
                    wrong[f"{question.method} {question.path}: 503 without Retry-After"] += 1
        return wrong

    def list_accepted(self, path: str) -> list[str]:
        """The ids in the 202s to POSTs there."""
        posters = [asker for asker in self.askers if asker.question.method == "POST" and asker.question.path == path]
        return [accepted_id for asker in posters for accepted_id in asker.list_accepted()]

    def find_slowest_seconds(self) -> float:
        return max((answer.seconds for asker in self.askers for answer in asker.answers), default=math.inf)

    def is_good(self) -> bool:
        is_answered = not self.count_wrong() and self.find_slowest_seconds() <= ANSWER_SECONDS
        return is_answered and not self.strayed and self.attempts == 1


def make_cells(outcome: Outcome) -> list[str]:
    statuses = outcome.count_statuses()
    return [
        outcome.server,
        outcome.fault,
        str(statuses.total()),
        str(statuses[httpx.codes.SERVICE_UNAVAILABLE]),
        str(outcome.count_wrong().total()),
        f"{outcome.find_slowest_seconds():.1f}",
        f"{outcome.recovered_seconds:.1f}",
        str(outcome.followed),
        str(len(outcome.strayed)),
        str(outcome.attempts),
    ]
