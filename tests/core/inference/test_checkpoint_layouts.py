from argparse import Namespace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.errors import InvalidInputError
from core.inference.backbone_weights import Conversion, convert_weights, load_backbone

RESNET = "test_resnet"
VIT = "test_vit"
CLASSIFIERS = {RESNET: "fc", VIT: "head"}

State = dict[str, Tensor]


def make_state(name: str, *, seed: int, with_classifier: bool = False) -> State:
    """Random everywhere: running statistics and counters of two seeds differ too."""
    generator = torch.Generator().manual_seed(seed)
    state = {key: randomize(value, generator) for key, value in timm.create_model(name).state_dict().items()}
    return {key: value for key, value in state.items() if with_classifier or not key.startswith(CLASSIFIERS[name])}


def randomize(value: Tensor, generator: torch.Generator) -> Tensor:
    if value.is_floating_point():
        return torch.randn(value.shape, generator=generator)
    return torch.randint(1, 10**6, value.shape, generator=generator)


def add_prefix(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def make_linear(name: str, *, outputs: int) -> State:
    return {f"{name}.weight": torch.ones(outputs, 8), f"{name}.bias": torch.ones(outputs)}


def make_queue_head(*, version: int) -> State:
    """MoCo v1 projects by the classifier's layer, v2 by two layers in its place."""
    if version == 1:
        return make_linear("fc", outputs=128)
    return make_linear("fc.0", outputs=8) | make_linear("fc.2", outputs=128)


def make_mlp(name: str) -> State:
    """MoCo v3: linear layers without bias, the last normalization without parameters."""
    norms = torch.nn.BatchNorm1d(8), torch.nn.BatchNorm1d(8, affine=False)
    return {
        f"{name}.0.weight": torch.ones(8, 8),
        **add_prefix(f"{name}.1.", norms[0].state_dict()),
        f"{name}.3.weight": torch.ones(8, 8),
        **add_prefix(f"{name}.4.", norms[1].state_dict()),
    }


def make_dino_head(prefix: str) -> State:
    last = {"last_layer.weight_g": torch.ones(16, 1), "last_layer.weight_v": torch.ones(16, 8)}
    return add_prefix(prefix, make_linear("mlp.0", outputs=8) | make_linear("mlp.2", outputs=8) | last)


def make_optimizer(state: State) -> dict[str, object]:
    momenta = {number: {"momentum_buffer": value} for number, value in enumerate(state.values())}
    return {"state": momenta, "param_groups": [{"lr": 0.03, "params": list(momenta)}]}


def make_moco(query: State, *, version: int) -> dict[str, object]:
    head = make_queue_head(version=version)
    state = {
        "module.queue": torch.ones(128, 64),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
        **add_prefix("module.encoder_q.", query | head),
        **add_prefix("module.encoder_k.", make_state(RESNET, seed=2) | head),
    }
    return {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": make_optimizer(query)}


def make_moco_v3(base: State, name: str) -> dict[str, object]:
    head = make_mlp(CLASSIFIERS[name])
    state = {
        **add_prefix("module.momentum_encoder.", make_state(name, seed=2) | head),
        **add_prefix("module.base_encoder.", base | head),
        **add_prefix("module.", make_mlp("predictor")),
    }
    scaler = {"scale": 65536.0, "_growth_tracker": 0}
    return {"epoch": 300, "arch": name, "state_dict": state, "optimizer": make_optimizer(base), "scaler": scaler}


def make_dino(teacher: State, name: str, *, teacher_wrapper: str) -> dict[str, object]:
    return {
        "student": add_prefix("module.backbone.", make_state(name, seed=2)) | make_dino_head("module.head."),
        "teacher": add_prefix(f"{teacher_wrapper}backbone.", teacher) | make_dino_head(f"{teacher_wrapper}head."),
        "optimizer": make_optimizer(teacher),
        "epoch": 100,
        "args": Namespace(arch=name, lr=0.0005, local_crops_scale=(0.05, 0.4)),
        "dino_loss": {"center": torch.zeros(1, 16)},
    }


def convert(content: object, name: str, folder: Path) -> tuple[Conversion, State]:
    torch.save(content, folder / "given.pth.tar")
    conversion = convert_weights(folder / "given.pth.tar", name, folder / "converted.safetensors")
    load_backbone(name, folder / "converted.safetensors")
    return conversion, load_file(folder / "converted.safetensors")


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def list_groups(conversion: Conversion) -> set[str]:
    return {name.partition(".")[0] for name in conversion.left_out}


@pytest.mark.parametrize("version", [1, 2])
def test_moco_gives_its_query_encoder(tmp_path: Path, version: int) -> None:
    query = make_state(RESNET, seed=1)

    conversion, converted = convert(make_moco(query, version=version), RESNET, tmp_path)

    assert_equal(converted, query)
    assert (conversion.layout, conversion.num_tensors) == ("MoCo v1 or v2, query encoder", len(query))
    assert list_groups(conversion) == {"fc", "encoder_k", "queue", "queue_ptr"}


@pytest.mark.parametrize("name", [RESNET, VIT])
def test_moco_v3_gives_its_base_encoder(tmp_path: Path, name: str) -> None:
    base = make_state(name, seed=1)

    conversion, converted = convert(make_moco_v3(base, name), name, tmp_path)

    assert_equal(converted, base)
    assert conversion.layout == "MoCo v3, base encoder"
    assert list_groups(conversion) == {CLASSIFIERS[name], "momentum_encoder", "predictor"}


@pytest.mark.parametrize(("name", "teacher_wrapper"), [(VIT, ""), (RESNET, "module.")])
def test_dino_gives_its_teacher(tmp_path: Path, name: str, teacher_wrapper: str) -> None:
    teacher = make_state(name, seed=1)

    conversion, converted = convert(make_dino(teacher, name, teacher_wrapper=teacher_wrapper), name, tmp_path)

    assert_equal(converted, teacher)
    assert conversion.layout == "DINO, teacher"
    assert list_groups(conversion) == {"head", "student", "dino_loss"}


@pytest.mark.parametrize("name", [VIT, RESNET])
def test_backbone_alone_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    backbone = make_state(name, seed=1)

    conversion, converted = convert(backbone, name, tmp_path)

    assert_equal(converted, backbone)
    assert conversion == Conversion(layout="plain names", num_tensors=len(backbone), left_out=())


def test_solo_learn_gives_its_backbone(tmp_path: Path) -> None:
    backbone = make_state(RESNET, seed=1)
    other = add_prefix("momentum_backbone.", make_state(RESNET, seed=2)) | make_linear("classifier", outputs=10)
    state = other | add_prefix("backbone.", backbone) | make_mlp("projector") | make_mlp("predictor")

    conversion, converted = convert({"state_dict": state, "epoch": 3}, RESNET, tmp_path)

    assert_equal(converted, backbone)
    assert list_groups(conversion) == {"momentum_backbone", "classifier", "projector", "predictor"}


def test_lightly_gives_its_backbone_in_order(tmp_path: Path) -> None:
    backbone = {key: value for key, value in make_state(RESNET, seed=1).items() if value.ndim}
    numbered = {f"backbone.{number}.x": value for number, value in enumerate(backbone.values())}
    momentum = add_prefix("backbone_momentum.", make_state(RESNET, seed=2))

    conversion, converted = convert({"state_dict": momentum | numbered | make_mlp("projection_head")}, RESNET, tmp_path)

    assert_equal(converted, backbone)
    assert conversion.layout == "solo-learn or lightly, backbone, matched in order"


@pytest.mark.parametrize("key", ["", "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module."])
def test_supervised_weights_keep_their_classifier(tmp_path: Path, key: str, wrapper: str) -> None:
    state = make_state(RESNET, seed=1, with_classifier=True)
    wrapped = add_prefix(wrapper, state)
    training = {"epoch": 90, "best_acc1": torch.tensor(71.5), "optimizer": make_optimizer(state)}

    conversion, converted = convert({key: wrapped, **training} if key else wrapped, RESNET, tmp_path)

    assert_equal(converted, state)
    assert conversion == Conversion(layout="plain names", num_tensors=len(state) - 2, left_out=())


@pytest.mark.parametrize(
    ("key", "averaged_key"),
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model_state_dict", "model_ema")],
)
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_moving_average_is_preferred(tmp_path: Path, key: str, averaged_key: str, wrapper: str) -> None:
    averaged = make_state(RESNET, seed=1, with_classifier=True)
    raw = make_state(RESNET, seed=2, with_classifier=True)
    content = {key: raw, averaged_key: add_prefix(wrapper, averaged), "args": Namespace(model=RESNET), "epoch": 3}

    conversion, converted = convert(content, RESNET, tmp_path)

    assert_equal(converted, averaged)
    assert list_groups(conversion) == {key}


def test_counter_of_an_averaged_model_is_left_out(tmp_path: Path) -> None:
    averaged = make_state(RESNET, seed=1, with_classifier=True)
    state = {"n_averaged": torch.tensor(7)} | add_prefix("module.", averaged)

    conversion, converted = convert({"model_ema": state}, RESNET, tmp_path)

    assert_equal(converted, averaged)
    assert conversion.left_out == ("n_averaged",)


def test_summary_groups_what_was_left_out(tmp_path: Path) -> None:
    query = make_state(RESNET, seed=1)

    conversion, _ = convert(make_moco(query, version=2), RESNET, tmp_path)

    taken, left_out = conversion.summarize().splitlines()
    assert taken == f"{len(query)} tensors taken (MoCo v1 or v2, query encoder)"
    assert left_out == f"left out: encoder_k ({len(query) + 4}), fc (4), queue (1), queue_ptr (1)"


def test_summary_is_bounded() -> None:
    conversion = Conversion(layout="plain names", num_tensors=3, left_out=tuple("abcdefgh"))

    assert conversion.summarize().endswith("left out: a (1), b (1), c (1), d (1), e (1), …")


def test_order_never_overrules_a_name(tmp_path: Path) -> None:
    state = make_state(RESNET, seed=1)
    weight, bias = state.pop("conv1.1.weight"), state.pop("conv1.1.bias")
    renamed = {"conv1.0.weight": state.pop("conv1.0.weight"), "conv1.1.bias": bias, "gamma": weight}

    with pytest.raises(InvalidInputError, match=r"1 missing \(conv1\.1\.weight\), 1 unexpected \(gamma\)"):
        convert(renamed | state, RESNET, tmp_path)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    query = make_state(RESNET, seed=1)
    del query["layer1.0.conv1.weight"]

    with pytest.raises(InvalidInputError, match=r": 1 missing \(layer1\.0\.conv1\.weight\), 0 unexpected, 0 of"):
        convert(make_moco(query, version=2), RESNET, tmp_path)


def test_tensor_that_the_teacher_lacks_is_not_taken_of_the_student(tmp_path: Path) -> None:
    teacher = make_state(VIT, seed=1)
    del teacher["norm.weight"]

    with pytest.raises(InvalidInputError, match=r": 1 missing \(norm\.weight\), 0 unexpected") as caught:
        convert(make_dino(teacher, VIT, teacher_wrapper=""), VIT, tmp_path)
    assert "DINO, teacher" in caught.value.hint


@pytest.mark.parametrize(
    ("foreign", "named"), [("module.encoder_q.neck.weight", "neck.weight"), ("module.decoder.weight", "decoder.weight")]
)
def test_foreign_tensor_is_named(tmp_path: Path, foreign: str, named: str) -> None:
    content = make_moco(make_state(RESNET, seed=1), version=1)
    state = content["state_dict"]
    assert isinstance(state, dict)

    with pytest.raises(InvalidInputError, match=rf": 0 missing, 1 unexpected \({named}\), 0 of"):
        convert(content | {"state_dict": state | {foreign: torch.ones(3)}}, RESNET, tmp_path)


def test_foreign_state_dict_is_named(tmp_path: Path) -> None:
    content = {"model": make_state(RESNET, seed=1), "discriminator": {"conv.weight": torch.ones(3)}}

    with pytest.raises(InvalidInputError, match=r"1 unexpected \(discriminator\.conv\.weight\)"):
        convert(content, RESNET, tmp_path)


def test_two_networks_of_equal_rank_are_refused(tmp_path: Path) -> None:
    content = {"state_dict": make_state(RESNET, seed=1), "model": make_state(RESNET, seed=2)}

    with pytest.raises(InvalidInputError, match=r"unexpected \(model\."):
        convert(content, RESNET, tmp_path)


def test_broken_moving_average_is_not_replaced_by_raw_weights(tmp_path: Path) -> None:
    averaged = make_state(RESNET, seed=1)
    del averaged["conv1.0.weight"]

    with pytest.raises(InvalidInputError, match=r"1 missing \(conv1\.0\.weight\)"):
        convert({"model": make_state(RESNET, seed=2), "model_ema": averaged}, RESNET, tmp_path)


def test_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    base = make_state(VIT, seed=1)
    base["pos_embed"] = base["pos_embed"][:, 1:]

    with pytest.raises(InvalidInputError, match=r"0 missing, 0 unexpected, 1 of another shape \(pos_embed\)"):
        convert(make_moco_v3(base, VIT), VIT, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": add_prefix("module.encoder_q.", make_queue_head(version=2))},
        {"teacher": make_dino_head("head."), "student": make_dino_head("module.head.")},
        make_linear("fc", outputs=128),
    ],
    ids=["moco", "dino", "classifier"],
)
def test_heads_alone_are_refused(tmp_path: Path, content: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=r"missing \(conv1\.0\.weight, .*…\)"):
        convert(content, RESNET, tmp_path)
