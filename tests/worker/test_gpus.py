import threading

import pytest

from worker.gpus import GpuPool, list_gpus


@pytest.mark.parametrize(("visible", "gpus"), [("", []), ("-1", []), ("0", ["0"]), ("2, GPU-ab", ["2", "GPU-ab"])])
def test_visible_gpus_are_listed(monkeypatch: pytest.MonkeyPatch, visible: str, gpus: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert list_gpus() == gpus


def test_gpu_is_lent_to_one_at_a_time() -> None:
    pool = GpuPool(["0", "1", "2"])

    with pool.lend(2, should_stop=lambda: False) as first, pool.lend(1, should_stop=lambda: False) as second:
        assert (first, second) == (["0", "1"], ["2"])


def test_borrower_waits_until_enough_are_back() -> None:
    pool, got = GpuPool(["0", "1"]), threading.Event()

    def borrow_both() -> None:
        with pool.lend(2, should_stop=lambda: False):
            got.set()

    with pool.lend(1, should_stop=lambda: False):
        waiting = threading.Thread(target=borrow_both)
        waiting.start()
        assert not got.wait(0.1)
    waiting.join()

    assert got.is_set()


def test_borrower_that_should_stop_goes_without() -> None:
    pool = GpuPool(["0"])

    with pool.lend(1, should_stop=lambda: False), pool.lend(1, should_stop=lambda: True) as lent:
        assert lent == []


def test_more_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 of 1"), GpuPool(["0"]).lend(2, should_stop=lambda: False):
        pass
