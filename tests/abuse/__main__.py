"""`python -m tests.abuse`: attacks, and honest requests beside them; the last line sums up; 0 is all right."""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from tests.abuse import archives, mutations, pictures
from tests.abuse.summary import summarise
from tests.abuse.verdict import Verdict

GROUPS = ("archives", "pictures", "mutations", "addresses", "servers", "uploads")
Group = Callable[[], Iterator[Verdict]]


def main() -> int:
    arguments = _parse()
    verdicts = []
    for name in arguments.groups:
        for verdict in _load(name, arguments)():
            verdicts.append(verdict)
            if not verdict.is_right or arguments.verbose:
                print(_render(verdict), flush=True)  # noqa: T201
        print(f"{name}: {summarise([item for item in verdicts if item.group == name])}", flush=True)  # noqa: T201
    print(summarise(verdicts))  # noqa: T201
    return 0 if all(verdict.is_right for verdict in verdicts) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse")
    present = [name for name in GROUPS if find_spec(f"tests.abuse.{name}")]
    parser.add_argument("--groups", nargs="+", choices=present, default=present)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--first-mutation", type=int, default=0, help="to run them in pieces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every verdict, not only wrong ones")
    return parser.parse_args()


def _load(name: str, arguments: argparse.Namespace) -> Group:
    match name:
        case "archives":
            return partial(archives.run, seed=arguments.seed)
        case "pictures":
            return partial(pictures.run, seed=arguments.seed)
        case "mutations":
            first, count = arguments.first_mutation, arguments.mutations
            return partial(mutations.run, seed=arguments.seed, numbers=range(first, first + count))
        case _:
            group: Group = import_module(f"tests.abuse.{name}").run  # one of GROUPS, by the parser
            return group


def _render(verdict: Verdict) -> str:
    mark = "ok   " if verdict.is_right else "WRONG"
    expected = f"{verdict.expected} {verdict.expected_code or ''}".rstrip()
    return (
        f"{mark} {verdict.group} {verdict.name}: {verdict.got} {verdict.code}, expected {expected}, "
        f"{verdict.seconds:.2f} s, {verdict.rss_mb:.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
