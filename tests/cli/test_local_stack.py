import pytest

from cli.local_stack import WORKER_GRACE_SECONDS, make_worker_environment
from core.settings import Settings


def test_worker_of_the_local_stack_hands_back_before_it_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in make_worker_environment({}, "train").items():
        monkeypatch.setenv(name, value)

    worker = Settings(**settings.model_dump(exclude={"handback_grace_seconds", "worker_queue"}))

    assert worker.worker_queue == "train"
    assert worker.handback_grace_seconds + 2 < WORKER_GRACE_SECONDS
