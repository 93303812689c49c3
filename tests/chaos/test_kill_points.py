"""A point that no worker passes would kill nobody, and nobody would know."""

import ast
from pathlib import Path

import pytest

import worker
from tests.chaos.kill_points import COMMITS


@pytest.mark.parametrize("name", COMMITS)
def test_commit_is_named_by_a_function_of_the_worker(name: str) -> None:
    module, function = name.split(".")
    source = Path(worker.__path__[0], f"{module}.py").read_text()

    assert function in {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
