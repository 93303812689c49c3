"""Takes steps with as many classes as job.json says, and leaves a checkpoint; where there is one, it resumes from that.

Prints the peak of memory in KiB.
"""

import io
import resource
import sys
from pathlib import Path

import torch

from core.trainer_protocol import TASK_FILE, ProbeJob
from core.training.checkpoint import State, load_state, restore, save_checkpoint
from core.training.contenders import build_contender
from core.training.methods.base import Batch, Method
from core.training.optim import build_optimizer
from core.training.probe import probe
from core.training.ranks import Ranks
from core.training.recorder import Recorder
from tests.core.training.jobs import never


def main(work_dir: Path) -> None:
    job = ProbeJob.model_validate_json((work_dir / TASK_FILE).read_text())
    checkpoint = work_dir / "checkpoint"
    method = build_contender(job, 0).train()
    optimizer = build_optimizer(method, job.spec.training)
    if checkpoint.exists():
        state = load_state(checkpoint)
        restore(checkpoint, method, optimizer)
        take_step(method, optimizer)
        assert state.best_weights
    else:
        take_step(method, optimizer)
        best = {name: value.clone() for name, value in method.classifier.state_dict().items()}
        save_checkpoint(checkpoint, State(best_weights=best), (method, optimizer))
        del method, optimizer, best
        probe(job, Recorder(io.BytesIO()), Ranks(), should_stop=never)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def take_step(method: Method, optimizer: torch.optim.SGD) -> None:
    batch = Batch([torch.randn(2, 3, 64, 64) for _ in range(2)], torch.tensor([0, 9]))
    method.begin_step(0)
    method.encode_keys(batch, 2)
    method.enqueue_keys(batch.labels, Ranks())
    method.compute_losses(batch, slice(0, 2))["loss"].backward()
    optimizer.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
