"""A point that no worker passes would kill nobody, and nobody would know."""

import ast
from collections.abc import Iterator
from pathlib import Path

import worker
from tests.chaos.kill_points import COMMITS, COMMITS_ELSEWHERE, NAMES, STOPS


def test_every_commit_of_a_worker_has_a_point_or_a_reason_for_none() -> None:
    found = {f"{path.stem}.{name}" for path in Path(worker.__path__[0]).glob("*.py") for name in list_commits(path)}

    without = {name for name in found if name in COMMITS_ELSEWHERE or f"{name.split('.')[0]}.*" in COMMITS_ELSEWHERE}
    assert found - without == set(COMMITS)


def test_worker_stops_at_points_that_are_there() -> None:
    assert set(STOPS) <= set(NAMES)


def list_commits(path: Path) -> Iterator[str]:
    """The innermost functions that open a transaction."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef) and any(opens_transaction(node) for node in walk_own(function)):
            yield function.name


def walk_own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Without the functions inside."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def opens_transaction(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "transaction"
