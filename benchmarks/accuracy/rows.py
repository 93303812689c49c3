"""One run's result, as a line of JSON."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.accuracy.folds import Fold

MethodName = Literal["vanilla", "linear_probe", "bi_tuning"]
# To be counted up with every change of a default, or of the trainer, that changes what a run gives. Where a default
# changes for some data alone, the options of its rows may be renamed instead to what differs from the defaults of now.
RECIPE = 2


class Setup(BaseModel):
    """What distinguishes a run from others; two runs of one setup and version give the same model on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str  # "elpv", or the folder's name
    task: int  # number of classes
    percent: int  # of the training pictures
    method: MethodName
    options: str = ""  # "key_norm=momentum epochs=12": what differs from the defaults
    seed: int
    backbone: str
    weights_sha256: str  # of the pre-trained backbone's file, as safetensors
    image_size: int
    device: str
    recipe: int = 1  # rows of different ones do not compare

    def read_options(self) -> dict[str, str]:
        return dict(option.split("=", 1) for option in self.options.split())


class Row(Setup):
    fold: Fold
    num_train: int
    num_val: int
    num_judged: int
    epochs: int
    steps: int
    accuracy: float
    balanced_accuracy: float  # mean of the classes' recalls
    val_accuracy: float  # of the exported epoch, and so optimistic
    encoder: str  # which encoder that epoch exports
    right: str  # "1" where the model is right, a character a picture of the fold, in one order for all runs
    seconds: float
    machine: str
    torch_version: str
    commit: str = ""  # of the code; of the first rows it was not written down
    date: str

    @property
    def arena(self) -> tuple[str, int, Fold, str, int, int]:
        """Rows are judged on the same pictures, start from the same weights and mean the same where it is equal."""
        return self.dataset, self.task, self.fold, self.weights_sha256, self.image_size, self.recipe

    @property
    def setup(self) -> Setup:
        return Setup(**self.model_dump(include=set(Setup.model_fields)))


def read_rows(path: Path) -> list[Row]:
    return [Row.model_validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_current_rows(path: Path) -> list[Row]:
    """Those that would come out the same today, but for rounding."""
    return [row for row in read_rows(path) if row.recipe == RECIPE]


def append_row(path: Path, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(row.model_dump_json() + "\n")
