"""Pre-trained weights: brought by an operator, converted once to safetensors in timm's names, loaded strictly."""

import pickle
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models import get_pretrained_cfg
from torch import nn

from core.errors import InvalidInputError, UnavailableError
from core.inference.checkpoint_layouts import Checkpoint, Selection, State, list_selections, split_checkpoint
from core.inference.classifier import create_backbone

MAX_LISTED = 5
COUNTER = "num_batches_tracked"  # batch norm's counter, which old files lack


@dataclass(frozen=True)
class Conversion:
    """By which layout a file was read, how many tensors it gave to the backbone, and what it held besides."""

    layout: str
    num_tensors: int
    left_out: tuple[str, ...]

    def summarize(self) -> str:
        """One line, and a second if something was left out."""
        taken = f"{self.num_tensors} tensors taken ({self.layout})"
        counts = Counter(name.partition(".")[0] for name in self.left_out)
        groups = [f"{part} ({count})" for part, count in counts.most_common()]
        return f"{taken}\nleft out: {_join_bounded(groups)}" if groups else taken


@dataclass(frozen=True)
class Mismatch:
    """What keeps a file from being the weights of a backbone."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)

    def __str__(self) -> str:
        found = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return ", ".join(_describe(what, names) for what, names in found.items())


def convert_weights(source: Path, name: str, target: Path) -> Conversion:
    """Writes `source` (safetensors or a checkpoint of torch) as safetensors in timm's names.

    Takes the first layout by which all names match; when none does, the first by which the tensors match in
    order. Raises InvalidInputError listing what does not match by the nearest layout.
    """
    wanted = create_backbone(name).state_dict()
    chosen = _choose_selection(list_selections(_read_checkpoint(source)), wanted, name)
    _check(_find_selection_mismatch(wanted, chosen, name), name, read_as=chosen.layout.name)
    head = [] if chosen.layout.has_classifier else [key for key in chosen.network if key not in wanted]
    kept = {key: value.contiguous() for key, value in chosen.network.items() if key not in head}
    save_file(kept, target)
    num_tensors = sum(key in wanted for key in kept)
    return Conversion(layout=chosen.layout.name, num_tensors=num_tensors, left_out=(*head, *chosen.left_out))


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
    _check(_find_mismatch(wanted, given, name), name, read_as="a converted file")
    backbone.load_state_dict({key: given.get(key, value) for key, value in wanted.items()})


def _choose_selection(selections: list[Selection], wanted: State, name: str) -> Selection:
    """The first that matches by name, else the first that matches in order, else the nearest."""
    nearest = min(selections, key=lambda selection: len(_find_selection_mismatch(wanted, selection, name)))
    if not _find_selection_mismatch(wanted, nearest, name):
        return nearest
    whole = timm.create_model(name, pretrained=False).state_dict()
    pairs = [(selection, state) for selection in selections if not selection.foreign for state in (whole, wanted)]
    ordered = (_match_in_order(selection, state) for selection, state in pairs)
    return next((selection for selection in ordered if selection is not None), nearest)


def _match_in_order(selection: Selection, wanted: State) -> Selection | None:
    """The same network under other names: as many tensors, each of the wanted shape in its place."""
    sources = {key: value for key, value in selection.network.items() if not key.endswith(COUNTER)}
    names = [key for key in wanted if not key.endswith(COUNTER)]
    if [value.shape for value in sources.values()] != [wanted[key].shape for key in names]:
        return None
    if any(source in wanted and source != name for source, name in zip(sources, names, strict=True)):
        return None  # a name known to the backbone says more than a place
    layout = replace(selection.layout, name=f"{selection.layout.name}, matched in order")
    return replace(selection, layout=layout, network=dict(zip(names, sources.values(), strict=True)))


def _find_selection_mismatch(wanted: State, selection: Selection, name: str) -> Mismatch:
    mismatch = _find_mismatch(wanted, selection.network, name)
    return replace(mismatch, unexpected=[*mismatch.unexpected, *selection.foreign])


def _find_mismatch(wanted: State, given: State, name: str) -> Mismatch:
    """What `given` lacks, and what it holds that belongs neither to the backbone nor to its classifier."""
    classifier = _classifier_prefixes(name)
    return Mismatch(
        missing=[key for key in wanted if key not in given and not key.endswith(COUNTER)],
        unexpected=[key for key in given if key not in wanted and not key.startswith(classifier)],
        misshapen=[key for key in wanted if key in given and given[key].shape != wanted[key].shape],
    )


def _check(mismatch: Mismatch, name: str, *, read_as: str) -> None:
    if mismatch:
        raise InvalidInputError(
            "weights_mismatch",
            f"the file does not hold the weights of '{name}': {mismatch}",
            hint=f"it was read as: {read_as}; give the weights of this architecture, by timm's names or in its order",
        )


def _classifier_prefixes(name: str) -> tuple[str, ...]:
    config = get_pretrained_cfg(name)
    names = () if config is None or config.classifier is None else config.classifier
    return tuple(f"{part}." for part in ((names,) if isinstance(names, str) else names))


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as exc:
        raise InvalidInputError("weights_unreadable", f"{path.name} is no safetensors file: {exc}") from exc


def _read_checkpoint(source: Path) -> Checkpoint:
    if source.suffix == ".safetensors":
        return split_checkpoint(_read_safetensors(source))
    try:
        with torch.serialization.safe_globals([Namespace]):  # DINO and timm keep their arguments in the file
            content = torch.load(source, map_location="cpu", weights_only=True)  # the one place: what operators bring
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as exc:
        raise InvalidInputError(
            "weights_unreadable", f"{source.name} is no state dict of torch: {exc}", hint="save model.state_dict()"
        ) from exc
    if not isinstance(content, dict):
        raise InvalidInputError(
            "weights_unreadable", f"{source.name} holds no state dict", hint="save model.state_dict()"
        )
    return split_checkpoint(content)


def _describe(what: str, names: list[str]) -> str:
    return f"{len(names)} {what}{f' ({_join_bounded(names)})' if names else ''}"


def _join_bounded(names: list[str]) -> str:
    return ", ".join([*names[:MAX_LISTED], *(["…"] if len(names) > MAX_LISTED else [])])
