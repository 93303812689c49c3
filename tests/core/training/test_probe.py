import io
from pathlib import Path

import pytest

from core.specs import ResolvedMethodSpec, ResolvedSpec
from core.trainer_protocol import Measured, ProbeJob, decode_line
from core.training.recorder import Recorder
from core.training.run import do
from tests.core.training.jobs import BACKBONE, METHODS, VANILLA, describe, make_spec, make_weights, never


def run_probe(directory: Path, spec: ResolvedSpec) -> Measured:
    weights = make_weights(directory / "weights.safetensors")
    job = ProbeJob(spec=spec, classes=["a", "b"], backbone=describe(BACKBONE), weights_path=weights)
    out = io.BytesIO()
    do(job, Recorder(out), should_stop=never)
    (line,) = [decode_line(raw) for raw in out.getvalue().splitlines()]
    assert isinstance(line, Measured)
    return line


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_probe_measures_every_method_and_leaves_nothing(tmp_path: Path, method: ResolvedMethodSpec) -> None:
    measured = run_probe(tmp_path, make_spec(method, compare_to_baseline=True))

    assert measured.speed.seconds_per_step > 0
    assert measured.speed.seconds_per_picture > 0
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_probe_does_not_diverge_on_its_noise(tmp_path: Path) -> None:
    spec = make_spec(VANILLA, learning_rate=1e9, warm_up_fraction=0.0)

    assert run_probe(tmp_path, spec).speed.seconds_per_step > 0
