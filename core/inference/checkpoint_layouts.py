"""Where the backbone lies in the checkpoints that people have, and what lies there besides."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

State = dict[str, Tensor]
Checkpoint = dict[str, State]  # by key of the file; what lies at its top has the key ""

WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # DataParallel and torch.compile
NETWORKS = ("", "state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class Layout:
    """The backbone has the names under `prefix` in one of `keys`; `rest` lies there too, `beside` in other keys."""

    name: str
    prefix: str
    keys: tuple[str, ...] = NETWORKS
    rest: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    has_classifier: bool = False


@dataclass(frozen=True)
class Selection:
    """What a layout takes of a checkpoint (without the prefix), leaves out knowingly, and does not know."""

    layout: Layout
    network: State
    left_out: tuple[str, ...]
    foreign: tuple[str, ...]


LAYOUTS = (
    Layout(
        "DINO, teacher",
        "backbone.",
        keys=("teacher",),
        rest=("head", "dino_head", "ibot_head"),
        beside=("student", "dino_loss", "ibot_loss"),
    ),
    Layout(
        "plain names, moving average",
        "",
        keys=("state_dict_ema", "model_ema"),
        rest=("n_averaged",),
        beside=("state_dict", "model", "model_state_dict"),
        has_classifier=True,
    ),
    Layout("plain names", "", has_classifier=True),
    Layout("MoCo v1 or v2, query encoder", "encoder_q.", rest=("encoder_k", "queue", "queue_ptr")),
    Layout("MoCo v3, base encoder", "base_encoder.", rest=("momentum_encoder", "predictor")),
    Layout(
        "solo-learn or lightly, backbone",
        "backbone.",
        rest=(
            *("projector", "predictor", "prototypes", "classifier", "head", "projection_head", "prediction_head"),
            *("momentum_backbone", "momentum_projector", "momentum_classifier", "momentum_head"),
            *("backbone_momentum", "projection_head_momentum"),
            *("queue", "queue_y", "queue_ptr", "criterion", "dino_loss_func"),
        ),
    ),
)


def split_checkpoint(content: Mapping[str, object]) -> Checkpoint:
    """The state dicts of a file, without wrappers; optimizers nest deeper and are none."""
    nested = {str(key): _list_tensors(value.items()) for key, value in content.items() if isinstance(value, Mapping)}
    states = {key: _unwrap(state) for key, state in nested.items() if state}
    top = _unwrap(_list_tensors(content.items()))
    # beside state dicts a scalar is the best accuracy or the like
    return {"": {name: value for name, value in top.items() if value.ndim} if states else top} | states


def list_selections(checkpoint: Checkpoint) -> list[Selection]:
    """One for each layout that finds its prefix; never empty."""
    return [
        _select(checkpoint, key, layout)
        for layout in LAYOUTS
        for key in layout.keys
        if key in checkpoint and _has_prefix(checkpoint[key], layout.prefix)
    ]


def _list_tensors(items: Iterable[tuple[object, object]]) -> State:
    return {str(name): value for name, value in items if isinstance(value, Tensor)}


def _unwrap(state: State) -> State:
    unwrapped = {WRAPPERS.sub("", name): value for name, value in state.items()}
    return unwrapped if len(unwrapped) == len(state) else state


def _has_prefix(state: State, prefix: str) -> bool:
    return not prefix or any(name.startswith(prefix) for name in state)


def _select(checkpoint: Checkpoint, key: str, layout: Layout) -> Selection:
    state = checkpoint[key]
    rest = [name for name in state if _lies_under(name, layout.rest)]
    network = [name for name in state if name.startswith(layout.prefix) and name not in rest]
    beside = _list_beside(checkpoint, key)
    return Selection(
        layout=layout,
        network={name.removeprefix(layout.prefix): state[name] for name in network},
        left_out=(*rest, *(name for name in beside if _lies_under(name, layout.beside))),
        foreign=(
            *(name for name in state if name not in network and name not in rest),
            *(name for name in beside if not _lies_under(name, layout.beside)),
        ),
    )


def _list_beside(checkpoint: Checkpoint, key: str) -> list[str]:
    others = {other: state for other, state in checkpoint.items() if other != key}
    return [f"{other}.{name}" if other else name for other, state in others.items() for name in state]


def _lies_under(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)
