"""A resumable state on disk: two files in a folder that appears under its name once it is whole.

No random state is in it, since there is none: see `randomness`. Tensors are safetensors, everything else is JSON.
"""

import os
import shutil
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.training.methods.base import Method

TENSORS_FILE = "state.safetensors"
COUNTERS_FILE = "state.json"
FILES = [TENSORS_FILE, COUNTERS_FILE]


class Counters(BaseModel):
    """Where training stands, as far as it is not tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = 0  # steps done
    epoch_sums: dict[str, float] = {}  # of the losses since the epoch began
    best_accuracy: float = -1.0
    best_loss: float = 0.0
    best_epoch: int = 0
    stale_epochs: int = 0
    metrics: dict[str, float] = {}  # the last of each, of validation


class State(BaseModel):
    """All that a resumed run needs; `best` are the classifier's weights of the best epoch so far."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    counters: Counters
    best: dict[str, Tensor]


def save_checkpoint(directory: Path, method: Method, optimizer: torch.optim.SGD, state: State) -> None:
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tensors = _with_prefix("method", method.state_dict())
    tensors |= _with_prefix("optimizer", _momenta(optimizer))
    tensors |= _with_prefix("best", state.best)
    save_file({key: value.detach().contiguous().clone() for key, value in tensors.items()}, part / TENSORS_FILE)
    (part / COUNTERS_FILE).write_text(state.counters.model_dump_json())
    for name in FILES:
        _sync(part / name)
    part.rename(directory)
    _sync(directory.parent)


def load_checkpoint(directory: Path, method: Method, optimizer: torch.optim.SGD, device: torch.device) -> State:
    tensors = load_file(directory / TENSORS_FILE, device=str(device))
    method.load_state_dict(_without_prefix("method", tensors))
    momenta = _without_prefix("optimizer", tensors)
    for index, parameter in enumerate(_parameters(optimizer)):
        if str(index) in momenta:
            optimizer.state[parameter]["momentum_buffer"] = momenta[str(index)].clone(
                memory_format=torch.preserve_format
            )
    counters = Counters.model_validate_json((directory / COUNTERS_FILE).read_text())
    return State(counters=counters, best=_without_prefix("best", tensors))


def _momenta(optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The momentum buffers by the place of their parameter; none before the first step."""
    buffers = [optimizer.state[parameter].get("momentum_buffer") for parameter in _parameters(optimizer)]
    return {str(index): buffer for index, buffer in enumerate(buffers) if buffer is not None}


def _parameters(optimizer: torch.optim.SGD) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{key}": value for key, value in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}/"): value for key, value in tensors.items() if key.startswith(f"{prefix}/")}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
