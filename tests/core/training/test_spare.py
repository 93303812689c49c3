"""What a spare has done before it waits, and what it has not."""

import os
import subprocess
import sys
from pathlib import Path

from core.trainer_protocol import SPARE_IS_READY, TASK_FILE, WAIT_FLAG, ExitCode
from tests.core.training.jobs import VANILLA, make_job, make_spec

TRAINS_AND_SAYS_WHAT_IT_IMPORTS = """
import sys
from pathlib import Path
import core.training.__main__
before = set(sys.modules)
core.training.__main__.run(Path(sys.argv[1]))
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print("imported", sorted(roots - {"PIL", "numpy"}))  # these are small
"""
IMPORTS_WHERE_A_LOOK_AT_A_GPU_FAILS = """
import torch
def refuse(*_):
    raise AssertionError("it has looked at the GPUs")
for name in ("_cuda_getDeviceCount", "_cuda_init", "_cuda_getDevice"):
    setattr(torch._C, name, refuse)
torch.cuda._raw_device_count_nvml = torch.cuda._device_count_nvml = refuse
import core.training.__main__
if LOOKS:
    torch.cuda.device_count()
"""


def test_everything_that_a_job_needs_is_imported_before_it(tmp_path: Path) -> None:
    (tmp_path / TASK_FILE).write_text(make_job(tmp_path, make_spec(VANILLA, epochs=1)).model_dump_json())

    ended = subprocess.run(
        [sys.executable, "-c", TRAINS_AND_SAYS_WHAT_IT_IMPORTS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.splitlines()[-1] == "imported []"


def import_without_gpu(*, looks: bool) -> int:
    script = IMPORTS_WHERE_A_LOOK_AT_A_GPU_FAILS.replace("LOOKS", str(looks))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode


def test_imports_look_at_no_gpu() -> None:
    """Which ones a job may see is said later."""
    assert import_without_gpu(looks=False) == 0


def test_look_at_a_gpu_is_noticed() -> None:
    """The control."""
    assert import_without_gpu(looks=True) == 1


def test_spare_leaves_with_its_worker(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "core.training", WAIT_FLAG, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"BITUNE_PARENT_PIPE": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == SPARE_IS_READY

        process.stdin.close()

        assert process.wait(10) == ExitCode.INTERRUPTED
