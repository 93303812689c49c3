"""What `celery -A` names in a chaos run: the product's worker, which can kill itself or lack a protection."""

from tests.chaos.kill_points import install_kill_points
from tests.chaos.sabotage import sabotage

install_kill_points()
sabotage()

from worker.app import app  # noqa: E402 - its clients must be made after the points are in place

__all__ = ["app"]
