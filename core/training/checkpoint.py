"""A resumable state on disk: two files in a folder that appears under its name once it is whole.

No random state is in it, since there is none: see `randomness`. Tensors are safetensors, everything else is JSON.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.training.methods.base import Method
from core.training.whole_files import whole_directory

TENSORS_FILE = "state.safetensors"
COUNTERS_FILE = "state.json"
FILES = [TENSORS_FILE, COUNTERS_FILE]


class BestEpoch(BaseModel):
    """The epoch whose weights will be the model: best validation accuracy, then lowest loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    accuracy: float
    loss: float


class Counters(BaseModel):
    """Where training stands, as far as it is not tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    step: int = 0  # steps done
    epochs_validated: int = 0  # one less than the epochs done, when stopped between the last step and the validation
    epoch_sums: dict[str, float] = {}  # of the losses since the epoch began
    best: BestEpoch | None = None
    epochs_without_gain: int = 0  # of validation accuracy
    metrics: dict[str, float] = {}  # of the last validation


@dataclass
class State:
    """All that a resumed run needs beside method and optimizer."""

    counters: Counters = field(default_factory=Counters)
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # of the classifier, at the best epoch so far


def save_checkpoint(directory: Path, method: Method, optimizer: torch.optim.SGD, state: State) -> None:
    tensors = _with_prefix("method", method.state_dict())
    tensors |= _with_prefix("optimizer", _momenta(optimizer))
    tensors |= _with_prefix("best", state.best_weights)
    with whole_directory(directory) as part:
        save_file({key: value.contiguous() for key, value in tensors.items()}, part / TENSORS_FILE)
        (part / COUNTERS_FILE).write_text(state.counters.model_dump_json())


def load_checkpoint(directory: Path, method: Method, optimizer: torch.optim.SGD) -> State:
    """Puts method and optimizer back; they must be built from the same spec."""
    tensors = load_file(directory / TENSORS_FILE)
    method.load_state_dict(_without_prefix("method", tensors))
    momenta = _without_prefix("optimizer", tensors)
    for index, parameter in enumerate(_parameters(optimizer)):
        if str(index) in momenta:  # in the parameter's memory format, on its device
            buffer = torch.empty_like(parameter).copy_(momenta[str(index)])
            optimizer.state[parameter]["momentum_buffer"] = buffer.detach()
    counters = Counters.model_validate_json((directory / COUNTERS_FILE).read_text())
    return State(counters=counters, best_weights=_without_prefix("best", tensors))


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
