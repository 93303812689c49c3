"""A resumable state on disk: two files in a folder that appears under its name once it is whole.

No random state is in it, since there is none: see `randomness`. Tensors are safetensors, everything else is JSON.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.disk import require_space
from core.specs import EncoderName
from core.training.methods.base import Method
from core.training.whole_files import whole_directory

TENSORS_FILE = "state.safetensors"
COUNTERS_FILE = "state.json"
FILES = [TENSORS_FILE, COUNTERS_FILE]

Weights = dict[str, Tensor]


class BestEpoch(BaseModel):
    """The epoch and encoder whose weights will be the model: see `selection`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    encoder: EncoderName
    accuracy: float
    loss: float


class Counters(BaseModel):
    """Where training stands, as far as it is not tensors. A contender is the method asked for, or a baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 2
    contender: int = 0  # which one is trained: an index into `ResolvedSpec.contenders`
    finished: list[BestEpoch] = []  # of the contenders before
    steps_before: int = 0  # done by the contenders before
    step: int = 0  # done by this one
    epochs_validated: int = 0  # one less than the epochs done, when stopped between the last step and the validation
    epoch_sums: dict[str, float] = {}  # of the losses since the epoch began
    best: BestEpoch | None = None
    top_accuracy: float = 0.0  # of all validations; in checkpoints of before it was the best epoch's
    epochs_without_gain: int = 0  # of validation accuracy
    metrics: dict[str, float] = {}  # of the last validation
    micro_batch_size: int | None = None  # None until the first step

    @property
    def total_step(self) -> int:
        return self.steps_before + self.step

    @property
    def highest_accuracy(self) -> float | None:
        """Of all validations so far; that of the best epoch may be a little lower."""
        return None if self.best is None else max(self.top_accuracy, self.best.accuracy)


@dataclass
class State:
    """All that a resumed run needs beside method and optimizer."""

    counters: Counters = field(default_factory=Counters)
    best_weights: Weights = field(default_factory=dict)  # of the classifier, at the best epoch so far
    finished_weights: list[Weights] = field(default_factory=list)  # the best of the contenders before

    def update(self, **changes: object) -> None:
        self.counters = self.counters.model_copy(update=changes)

    def finish_contender(self) -> None:
        """The next one starts from nothing but the memory limit that was found."""
        done = self.counters
        if done.best is None:
            raise ValueError("a contender ends after a validation")
        self.finished_weights.append(self.best_weights)
        self.best_weights = {}
        self.counters = Counters(
            contender=done.contender + 1,
            finished=[*done.finished, done.best],
            steps_before=done.total_step,
            micro_batch_size=done.micro_batch_size,
        )


def save_checkpoint(directory: Path, state: State, training: tuple[Method, torch.optim.SGD] | None) -> None:
    """`training` is None after the last contender: nothing is left to train. Nothing is begun that has no space."""
    tensors = _with_prefix("best", state.best_weights)
    for index, weights in enumerate(state.finished_weights):
        tensors |= _with_prefix(f"finished{index}", weights)
    if training is not None:
        method, optimizer = training
        tensors |= _with_prefix("method", method.state_dict()) | _with_prefix("optimizer", _momenta(optimizer))
    directory.parent.mkdir(parents=True, exist_ok=True)
    require_space(directory.parent, sum(tensor.nbytes for tensor in tensors.values()))
    with whole_directory(directory) as part:
        save_file({key: value.contiguous() for key, value in tensors.items()}, part / TENSORS_FILE)
        (part / COUNTERS_FILE).write_text(state.counters.model_dump_json())


def load_state(directory: Path) -> State:
    counters = Counters.model_validate_json((directory / COUNTERS_FILE).read_text())
    return State(
        counters=counters,
        best_weights=dict(_read(directory, "best")),
        finished_weights=[dict(_read(directory, f"finished{index}")) for index in range(counters.contender)],
    )


def restore(directory: Path, method: Method, optimizer: torch.optim.SGD) -> None:
    """Puts method and optimizer back, a tensor at a time; they must be built from the same spec."""
    state = method.state_dict()
    for name, value in _read(directory, "method"):
        state.pop(name).copy_(value)
    if state:
        raise ValueError(f"the checkpoint lacks {len(state)} tensors of the method, {next(iter(state))} among them")
    parameters = _parameters(optimizer)
    for index, value in _read(directory, "optimizer"):
        parameter = parameters[int(index)]
        buffer = torch.empty_like(parameter).copy_(value)  # in the parameter's memory format, on its device
        optimizer.state[parameter]["momentum_buffer"] = buffer.detach()


def _momenta(optimizer: torch.optim.SGD) -> Weights:
    """The momentum buffers by the place of their parameter; none before the first step."""
    buffers = [optimizer.state[parameter].get("momentum_buffer") for parameter in _parameters(optimizer)]
    return {str(index): buffer for index, buffer in enumerate(buffers) if buffer is not None}


def _parameters(optimizer: torch.optim.SGD) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _with_prefix(prefix: str, tensors: Weights) -> Weights:
    return {f"{prefix}/{key}": value for key, value in tensors.items()}


def _read(directory: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Names without the prefix, and tensors."""
    with safe_open(directory / TENSORS_FILE, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - the file is no mapping
            if key.startswith(f"{prefix}/"):
                yield key.removeprefix(f"{prefix}/"), file.get_tensor(key)
