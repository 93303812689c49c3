"""The one line that says how a run of the abuse suite went."""

from collections.abc import Sequence

from tests.abuse.verdict import Verdict


def summarise(verdicts: Sequence[Verdict]) -> str:
    accept = [verdict for verdict in verdicts if verdict.expected == "accept"]
    refuse = [verdict for verdict in verdicts if verdict.expected == "refuse"]
    return " ".join(
        [
            f"accepted={_count_right(accept)}/{len(accept)}",
            f"refused={_count_right(refuse)}/{len(refuse)}",
            f"crashed={sum(verdict.got == 'crash' for verdict in verdicts)}",
            f"leaked={sum(verdict.got == 'leak' for verdict in verdicts)}",
            f"worst_rss_mb={max((verdict.rss_mb for verdict in verdicts), default=0):.0f}",
            f"worst_s={max((verdict.seconds for verdict in verdicts), default=0):.1f}",
        ]
    )


def _count_right(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.is_right for verdict in verdicts)
