from api.remembered import Remembered


def test_memory_is_bounded() -> None:
    remembered: Remembered[str, int] = Remembered(max_entries=2)
    for number, key in enumerate("abb"):
        remembered.keep(key, number)
    assert [remembered.recall(key) for key in "abc"] == [0, 2, None]

    remembered.keep("c", 3)
    assert [remembered.recall(key) for key in "abc"] == [None, None, 3]


def test_what_is_forgotten_is_gone() -> None:
    remembered: Remembered[str, int] = Remembered()
    remembered.keep("a", 1)
    remembered.forget("a")
    remembered.forget("b")

    assert remembered.recall("a") is None
