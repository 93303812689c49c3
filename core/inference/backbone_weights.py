"""Pre-trained weights: brought by an operator, converted once to safetensors in timm's names, loaded strictly."""

import pickle
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from core.errors import InvalidInputError, UnavailableError
from core.inference.classifier import create_backbone

MAX_LISTED = 5
COUNTER = "num_batches_tracked"  # batch norm's counter, which old files lack

State = dict[str, Tensor]


def convert_weights(source: Path, name: str, target: Path) -> None:
    """Writes `source` (safetensors or a state dict of torch) as safetensors in timm's names.

    Matches by name; when that fails, tensor by tensor in order, if all shapes agree. The classifier of the
    pre-training may be there or not. Raises InvalidInputError listing what does not match.
    """
    given = _read_state(source)
    backbone = create_backbone(name)
    if compare_names(backbone.state_dict(), given, name) != ([], []):
        whole = timm.create_model(name, pretrained=False).state_dict()
        given = _match_in_order(given, whole) or _match_in_order(given, backbone.state_dict()) or given
    load_weights(backbone, given, name)
    save_file({key: value.contiguous() for key, value in given.items()}, target)


def fetch_from_hub(name: str, target: Path) -> None:
    """Downloads timm's own pre-trained weights. Raises UnavailableError when the hub cannot be reached."""
    create_backbone(name)  # an unknown name is the user's error, not the hub's
    try:
        model = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as exc:
        raise UnavailableError(
            "hub_unavailable", f"the weights of '{name}' cannot be downloaded: {exc}", hint="give a file by --from"
        ) from exc
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, target)


def load_backbone(name: str, weights: Path) -> nn.Module:
    """The pre-trained backbone; every tensor of it comes from the file."""
    backbone = create_backbone(name)
    load_weights(backbone, _read_safetensors(weights), name)
    return backbone


def load_weights(backbone: nn.Module, given: State, name: str) -> None:
    """Strict but for the classifier of the pre-training, which is dropped knowingly."""
    wanted = backbone.state_dict()
    missing, unexpected = compare_names(wanted, given, name)
    wrong = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    if missing or unexpected or wrong:
        found = [_list("missing", missing), _list("unexpected", unexpected), _list("of another shape", wrong)]
        raise InvalidInputError(
            "weights_mismatch",
            f"the file does not hold the weights of '{name}': {', '.join(found)}",
            hint="give the state dict of this architecture, with timm's names or in timm's order",
        )
    backbone.load_state_dict({key: given.get(key, value) for key, value in wanted.items()})


def compare_names(wanted: State, given: State, name: str) -> tuple[list[str], list[str]]:
    """What `given` lacks, and what it holds that belongs neither to the backbone nor to its classifier."""
    classifier = _classifier_prefixes(name)
    missing = [key for key in wanted if key not in given and not key.endswith(COUNTER)]
    return missing, [key for key in given if key not in wanted and not key.startswith(classifier)]


def _classifier_prefixes(name: str) -> tuple[str, ...]:
    config = get_pretrained_cfg(name)
    names = () if config is None or config.classifier is None else config.classifier
    return tuple(f"{part}." for part in ((names,) if isinstance(names, str) else names))


def _match_in_order(given: State, wanted: State) -> State | None:
    """The same network under other names: as many tensors, each of the wanted shape in its place."""
    sources = [value for key, value in given.items() if not key.endswith(COUNTER)]
    names = [key for key in wanted if not key.endswith(COUNTER)]
    if [value.shape for value in sources] != [wanted[key].shape for key in names]:
        return None
    return dict(zip(names, sources, strict=True))


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as exc:
        raise InvalidInputError("weights_unreadable", f"{path.name} is no safetensors file: {exc}") from exc


def _read_state(source: Path) -> State:
    if source.suffix == ".safetensors":
        return _read_safetensors(source)
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)  # the one place: what an operator brings
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as exc:
        raise InvalidInputError("weights_unreadable", f"{source.name} is no state dict of torch: {exc}") from exc
    nested = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(nested, dict):
        raise InvalidInputError(
            "weights_unreadable", f"{source.name} holds no state dict", hint="save model.state_dict()"
        )
    return {key: value for key, value in nested.items() if isinstance(value, Tensor)}


def _list(what: str, keys: list[str]) -> str:
    named = f" ({', '.join(keys[:MAX_LISTED])}{', …' if len(keys) > MAX_LISTED else ''})" if keys else ""
    return f"{len(keys)} {what}{named}"
