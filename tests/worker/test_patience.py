import threading

import pytest

from core.storage_errors import StorageUnavailableError
from worker.patience import GivenUpError, outwait, run_beside


class Outage:
    """Ends after some tries."""

    def __init__(self, tries: int) -> None:
        self._left = tries

    def ask(self) -> str:
        self._left -= 1
        if self._left >= 0:
            raise StorageUnavailableError("storage_unavailable", "away")
        return "back"


def test_outage_is_outwaited() -> None:
    assert outwait(Outage(1).ask, seconds=10, give_up=lambda: False) == "back"


def test_outage_that_lasts_is_raised() -> None:
    with pytest.raises(StorageUnavailableError):
        outwait(Outage(1).ask, seconds=0.5, give_up=lambda: False)


def test_nobody_waits_who_has_to_stop() -> None:
    with pytest.raises(StorageUnavailableError):
        outwait(Outage(1).ask, seconds=10, give_up=lambda: True)


def test_result_and_error_come_from_beside() -> None:
    assert run_beside(lambda: "done", give_up=lambda: False) == "done"
    with pytest.raises(StorageUnavailableError):
        run_beside(Outage(1).ask, give_up=lambda: False)


def test_who_hangs_is_left_behind() -> None:
    hangs = threading.Event()

    with pytest.raises(GivenUpError):
        run_beside(hangs.wait, give_up=lambda: True)
    hangs.set()
