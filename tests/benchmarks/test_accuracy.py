from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks.accuracy.contest import make_spec
from benchmarks.accuracy.folds import choose
from benchmarks.accuracy.rows import RECIPE, Row, Setup, append_row, read_current_rows, read_rows
from benchmarks.accuracy.summary import Group, compare, find_baseline
from core.dataset_index import IndexEntry
from core.ingest.splits import assign_splits
from core.specs import BiTuningSpec
from core.training.data import Placed

NUM_ENTRIES = 400
SETUP = Setup(
    dataset="elpv",
    task=2,
    percent=25,
    method="bi_tuning",
    options="epochs=3 key_norm=momentum",
    seed=0,
    backbone="tf_efficientnet_lite0",
    weights_sha256="a" * 64,
    image_size=64,
    device="cpu",
)


@pytest.fixture
def entries() -> list[IndexEntry]:
    return assign_splits([make_entry(number) for number in range(NUM_ENTRIES)], test_fraction=0.25)


def make_entry(number: int) -> IndexEntry:
    return IndexEntry(
        sample_id=f"{number:032x}",
        shard="0.tar",
        offset=0,
        size_bytes=1,
        label=number % 4 == 0,
        split="train",
        width=8,
        height=8,
        sha256=f"{number:064x}",
        path=str(number),
        duplicate_group=f"{number:064x}",
    )


def make_row(seed: int, right: str) -> Row:
    return Row(
        **SETUP.model_dump(exclude={"seed"}),
        seed=seed,
        fold="held_out",
        num_train=1,
        num_val=1,
        num_judged=len(right),
        epochs=1,
        steps=1,
        accuracy=right.count("1") / len(right),
        balanced_accuracy=0,
        val_accuracy=0,
        encoder="query",
        right=right,
        seconds=1,
        machine="",
        torch_version="",
        date="",
    )


def list_ids(chosen: list[Placed], split: str) -> set[str]:
    return {one.entry.sample_id for one in chosen if one.entry.split == split}


@pytest.mark.parametrize("percent", [25, 100])
def test_tuning_never_sees_what_is_held_out(entries: list[IndexEntry], percent: int) -> None:
    held_out = {entry.sample_id for entry in entries if entry.split == "test"}

    tuning = choose(entries, percent=percent, seed=100)

    assert held_out.isdisjoint(one.entry.sample_id for one in tuning)
    assert len(list_ids(tuning, "test")) == pytest.approx(len(held_out), abs=2)
    assert list_ids(choose(entries, percent=percent, seed=0), "test") == held_out  # the control


def test_shares_are_stratified_and_the_larger_holds_the_smaller(entries: list[IndexEntry]) -> None:
    shares = [choose(entries, percent=percent, seed=3) for percent in (25, 50, 100)]

    small, medium, whole = (list_ids(share, "train") for share in shares)
    assert (len(small), len(medium), len(whole)) == (75, 150, 300)
    assert small < medium < whole
    assert Counter(one.entry.label for one in shares[0] if one.entry.split == "train") == {False: 56, True: 19}


def test_each_seed_draws_its_own_share(entries: list[IndexEntry]) -> None:
    assert choose(entries, percent=25, seed=0) != choose(entries, percent=25, seed=1)


def test_row_stands_where_its_entry_does(entries: list[IndexEntry]) -> None:
    assert all(entries[one.row].sample_id == one.entry.sample_id for one in choose(entries, percent=50, seed=100))


def test_options_go_where_they_belong() -> None:
    spec = make_spec(SETUP)

    assert isinstance(spec.method, BiTuningSpec)
    assert (spec.method.key_norm, spec.training.epochs, spec.training.image_size) == ("momentum", 3, 64)


def test_misspelt_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="key_nrom"):
        make_spec(SETUP.model_copy(update={"options": "key_nrom=momentum"}))


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [make_row(0, "10"), make_row(1, "11")]
    for row in rows:
        append_row(tmp_path / "results" / "rows.jsonl", row)

    assert read_rows(tmp_path / "results" / "rows.jsonl") == rows


def test_rows_of_another_recipe_are_not_of_today(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    of_before, of_today = make_row(0, "10"), make_row(0, "11").model_copy(update={"recipe": RECIPE})
    path.write_text(of_before.model_dump_json(exclude={"recipe"}) + "\n")  # as the first were written
    append_row(path, of_today)

    assert read_current_rows(path) == [of_today]
    assert of_before.setup != of_today.setup
    assert of_before.arena != of_today.arena


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("learning_rate=0.02 temperature=0.5", "learning_rate=0.02"),
        ("learning_rate=0.02", "learning_rate=0.02"),
        ("temperature=0.5", ""),
        ("epochs=3 temperature=0.5", ""),
    ],
)
def test_baseline_has_the_options_that_it_can_have(options: str, expected: str) -> None:
    group = Group("cells", 25, "vanilla", "")
    known = {group._replace(options=name): [make_row(0, "1")] for name in ("", "learning_rate=0.02")}

    baseline = find_baseline(group._replace(method="bi_tuning", options=options), known)

    assert baseline is known[group._replace(options=expected)]


def test_interval_of_a_plain_gain_is_above_zero_and_that_of_none_is_not() -> None:
    random = np.random.default_rng(0)
    weak = ["".join(random.choice(["0", "1"], 400, p=[0.4, 0.6])) for _ in range(5)]
    strong = ["".join("1" if random.random() < 0.3 else one for one in text) for text in weak]
    other = ["".join(random.permutation(list(text))) for text in weak]

    baseline = [make_row(seed, text) for seed, text in enumerate(weak)]
    gain = compare([make_row(seed, text) for seed, text in enumerate(strong)], baseline)
    none = compare([make_row(seed, text) for seed, text in enumerate(other)], baseline)

    assert gain is not None
    assert none is not None
    assert gain.low > 0
    assert none.low < 0 < none.high
