from pathlib import Path

SOURCE = Path(__file__).parents[3]


def test_torch_load_stands_in_one_place() -> None:
    files = [path for folder in ("api", "worker", "core", "cli") for path in (SOURCE / folder).rglob("*.py")]

    found = [path.name for path in files for line in path.read_text().splitlines() if "torch.load(" in line]

    assert found == ["backbone_weights.py"]


def test_nothing_is_pickled() -> None:
    training = [path for folder in ("training", "inference") for path in (SOURCE / "core" / folder).rglob("*.py")]

    assert not [
        path for path in training if "pickle.load" in path.read_text() or "allow_pickle=True" in path.read_text()
    ]
