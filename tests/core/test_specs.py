import pytest
from pydantic import ValidationError

from core.specs import LinearProbeSpec, TrainingSpec, VanillaSpec
from tests.core.training.jobs import BI_TUNING, VANILLA, make_spec


@pytest.mark.parametrize("body", [{"learning_rte": 1}, {"training": {"epochs": 0}}, {"method": {"type": "magic"}}])
def test_nonsense_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingSpec.model_validate(body)


def test_method_asked_for_comes_before_the_baselines() -> None:
    assert make_spec(BI_TUNING, compare_to_baseline=True).contenders == [BI_TUNING, VanillaSpec(), LinearProbeSpec()]


def test_baseline_is_not_compared_to_itself() -> None:
    assert make_spec(VANILLA, compare_to_baseline=True).contenders == [VANILLA, LinearProbeSpec()]


@pytest.mark.parametrize(
    ("num_classes", "changes", "is_sharp"),
    [
        (19, {"temperature": 0.19}, True),
        (19, {"temperature": 0.2}, False),
        (20, {"temperature": 0.069}, True),
        (20, {"temperature": 0.07}, False),
        (2, {"temperature": 0.07, "ccl_weight": 0.0}, True),
        (2, {"temperature": 0.07, "ccl_weight": 0.0, "cce_weight": 0.0}, False),
    ],
)
def test_temperature_is_sharp_below_what_was_tried(
    num_classes: int, changes: dict[str, float], *, is_sharp: bool
) -> None:
    assert BI_TUNING.model_copy(update=changes).is_sharp(num_classes) == is_sharp
