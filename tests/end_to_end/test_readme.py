import os
import re
import subprocess
from pathlib import Path

from cli.demo.cells import Cell
from tests.end_to_end.service import User

README = Path(__file__).parents[2] / "README.md"


def read_walk() -> str:
    """The shell blocks of the section that shows how to use the service."""
    section = README.read_text().split("## Use it")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL))


def test_walk_of_the_readme_runs(user: User, archive: Path, cells: list[list[Cell]]) -> None:
    environment = {
        "BITUNE": str(user.client.base_url).rstrip("/"),
        "KEY": user.client.headers["Authorization"].removeprefix("Bearer "),
        "ARCHIVE": str(archive),
        "PICTURE": str(cells[1][0].path),
        "PATH": os.environ["PATH"],
        "NO_PROXY": "*",
    }

    walk = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", read_walk()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert walk.stdout.count('"predictions"') == 2
    assert "val_accuracy" in walk.stdout
