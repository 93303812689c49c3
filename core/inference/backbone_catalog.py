"""Pre-trained weights on their way into the store: described, converted to safetensors, checked name by name."""

from pathlib import Path

import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.errors import InvalidInputError
from core.specs import BackboneDescription

MAX_LISTED = 5


def describe_backbone(name: str) -> BackboneDescription:
    """Raises InvalidInputError for a name that timm does not know."""
    if not timm.is_model(name):
        raise InvalidInputError("unknown_architecture", f"timm has no model '{name}'", hint="see timm.list_models()")
    model = timm.create_model(name, pretrained=False, num_classes=0)
    config = timm.data.resolve_model_data_config(model)
    return BackboneDescription(
        name=name,
        image_size=config["input_size"][1],
        mean=config["mean"],
        std=config["std"],
        interpolation="bicubic" if config["interpolation"] == "bicubic" else "bilinear",
        crop_pct=config["crop_pct"],
        num_features=model.num_features,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def convert_weights(source: Path, name: str, target: Path) -> None:
    """Writes `source` as safetensors in timm's names; raises InvalidInputError listing what does not match."""
    wanted = timm.create_model(name, pretrained=False).state_dict()
    given = _read_state(source)
    if set(given) == set(wanted):
        converted = {key: given[key] for key in wanted}
    else:
        converted = _match_in_order(given, wanted, name)
    _check_shapes(converted, wanted, name)
    save_file({key: value.contiguous() for key, value in converted.items()}, target)


def fetch_from_hub(name: str, target: Path) -> None:
    """Downloads timm's own pre-trained weights; needs the hub to be reachable."""
    model = timm.create_model(name, pretrained=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, target)


def _read_state(source: Path) -> dict[str, Tensor]:
    if source.suffix == ".safetensors":
        return load_file(source)
    state = torch.load(source, map_location="cpu", weights_only=True)  # the one place: what an operator brings
    if not isinstance(state, dict):
        raise InvalidInputError("weights_unreadable", "the file holds no state dict", hint="save model.state_dict()")
    nested = state.get("state_dict", state)
    return {key: value for key, value in nested.items() if isinstance(value, Tensor)}


def _match_in_order(given: dict[str, Tensor], wanted: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The same network under other names: as many tensors, and each of the wanted shape in its place."""
    if [value.shape for value in given.values()] != [value.shape for value in wanted.values()]:
        missing = sorted(set(wanted) - set(given))
        unexpected = sorted(set(given) - set(wanted))
        raise InvalidInputError(
            "weights_mismatch",
            f"the file does not hold the weights of '{name}': {_list('missing', missing)}, "
            f"{_list('unexpected', unexpected)}",
            hint="give the state dict of this architecture, with timm's names or in timm's order",
        )
    return dict(zip(wanted, given.values(), strict=True))


def _check_shapes(converted: dict[str, Tensor], wanted: dict[str, Tensor], name: str) -> None:
    wrong = [key for key in wanted if converted[key].shape != wanted[key].shape]
    if wrong:
        raise InvalidInputError("weights_mismatch", f"wrong shapes for '{name}': {_list('tensors', wrong)}")


def _list(what: str, keys: list[str]) -> str:
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{len(keys)} {what} ({', '.join(keys[:MAX_LISTED])}{more})"
