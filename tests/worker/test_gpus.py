from collections.abc import Callable

import pytest

from core.runs.types import Claim, GpuOffer, RunKind
from worker.gpus import GpuPool, list_gpus


@pytest.mark.parametrize(("visible", "gpus"), [("", []), ("-1", []), ("0", ["0"]), ("2, GPU-ab", ["2", "GPU-ab"])])
def test_visible_gpus_are_listed(monkeypatch: pytest.MonkeyPatch, visible: str, gpus: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert list_gpus() == gpus


def claim_for(gpus: int, *, run_id: str = "run") -> Callable[[GpuOffer], Claim | None]:
    """As the database does: nothing when more are wanted than are free."""
    return lambda offer: Claim(run_id, "proj", RunKind.TRAIN, 1, gpus) if gpus <= offer.free else None


def test_gpu_is_lent_to_one_at_a_time() -> None:
    pool = GpuPool(["0", "1", "2"])

    with pool.lend(claim_for(2)) as first, pool.lend(claim_for(1)) as second:
        assert first is not None
        assert second is not None
        assert (first.devices, second.devices) == (["0", "1"], ["2"])


def test_nothing_is_lent_without_a_claim() -> None:
    pool = GpuPool(["0", "1"])

    with pool.lend(claim_for(1)), pool.lend(claim_for(2)) as second:
        assert second is None


def test_gpus_come_back_when_the_run_ends() -> None:
    pool = GpuPool(["0", "1"])
    with pool.lend(claim_for(1)), pool.lend(claim_for(1, run_id="other")):
        pass

    with pool.lend(claim_for(2)) as loan:
        assert loan is not None
        assert loan.devices == ["0", "1"]


def test_gpus_that_came_back_early_are_lent_to_the_next_and_stay_its_own() -> None:
    pool = GpuPool(["0"])

    with pool.lend(claim_for(1, run_id="next_but_one")) as first:
        assert first is not None
        pool.give_back(first.held)
        with pool.lend(claim_for(1)) as second:
            assert second is not None
            pool.give_back(first.held)
            with pool.lend(claim_for(1, run_id="third")) as third:
                assert third is None


def test_gpus_that_are_withheld_are_not_lent_again() -> None:
    pool = GpuPool(["0", "1"])
    with pool.lend(claim_for(1)) as loan:
        assert loan is not None
        pool.withhold(loan.held)

    offers: list[GpuOffer] = []
    with pool.lend(offers.append):
        assert (pool.size, offers) == (1, [GpuOffer(free=1, total=1)])
