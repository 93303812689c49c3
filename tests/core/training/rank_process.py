"""One rank of a training, as a process: `WORK_DIR` holds job.json, and gets the method's whole state as it ends."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from core.trainer_protocol import TASK_FILE, TrainerJob
from core.training.checkpoint import State
from core.training.contenders import build_contender
from core.training.ranks import join_ranks
from core.training.recorder import open_recorder, open_silent_recorder
from tests.core.training.trainers import make_trainer


def main(work_dir: Path) -> None:
    job = TrainerJob.model_validate_json((work_dir / TASK_FILE).read_text())
    torch.set_num_threads(1)
    method = build_contender(job, 0)
    with join_ranks(torch.device("cpu")) as ranks, open_recorder(work_dir) as voice, open_silent_recorder() as silence:
        make_trainer(job, method, voice if ranks.is_first else silence, ranks, State()).run()
        state = {name: value.contiguous() for name, value in method.state_dict().items()}
        save_file(state, work_dir / f"rank{ranks.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
