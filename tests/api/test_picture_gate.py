import pytest

from api.picture_gate import PictureGate
from core.errors import BusyError, OverloadedError


def test_room_is_given_back() -> None:
    gate = PictureGate(max_pictures=4)

    for _ in range(10):
        with gate.hold("a", 4):
            pass

    gate.require_room("a")


def test_request_is_let_in_whole_while_there_is_room() -> None:
    gate = PictureGate(max_pictures=4)

    with gate.hold("a", 64), pytest.raises(BusyError):
        gate.require_room("b")


def test_project_leaves_room_for_the_others() -> None:
    gate = PictureGate(max_pictures=4)

    with gate.hold("a", 3):
        with pytest.raises(OverloadedError, match="3 pictures of the project"):
            gate.require_room("a")
        with gate.hold("b", 1), pytest.raises(BusyError):
            gate.require_room("c")
