import time

from core.ids import make_id


def test_ids_carry_their_prefix_and_sort_by_time() -> None:
    made = []
    for _ in range(5):
        made.append(make_id("ds"))
        time.sleep(0.002)

    assert all(item.startswith("ds_") for item in made)
    assert made == sorted(made)


def test_ids_differ_within_a_millisecond() -> None:
    assert len({make_id("ds") for _ in range(10_000)}) == 10_000
