import io
from pathlib import Path

import pytest

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import Measured, ProbeJob, decode_line
from core.training.recorder import Recorder
from core.training.run import do
from tests.core.training.jobs import BACKBONE, METHODS, describe, make_spec, make_weights, never


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_probe_measures_every_method_and_leaves_nothing(tmp_path: Path, method: ResolvedMethodSpec) -> None:
    weights = make_weights(tmp_path / "weights.safetensors")
    spec = make_spec(method, compare_to_baseline=True)
    job = ProbeJob(spec=spec, classes=["a", "b"], backbone=describe(BACKBONE), weights_path=weights)
    out = io.BytesIO()

    do(job, Recorder(out), should_stop=never)

    (line,) = [decode_line(raw) for raw in out.getvalue().splitlines()]
    assert isinstance(line, Measured)
    assert line.speed.seconds_per_step > 0
    assert line.speed.seconds_per_picture > 0
    assert list(tmp_path.iterdir()) == [weights]
