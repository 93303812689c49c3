import unicodedata

import pytest

from core.ingest.errors import ImportRejectedError
from core.ingest.folder_layout import FolderLayout, recognise_folders
from core.ingest.layout import Parts, Place, is_ignored


def _recognise(*paths: str) -> FolderLayout:
    return recognise_folders([_split(path) for path in paths])


def _refuse(*paths: str) -> ImportRejectedError:
    with pytest.raises(ImportRejectedError) as error:
        _recognise(*paths)
    return error.value


def _split(path: str) -> Parts:
    return tuple(path.split("/"))


def test_folder_per_class() -> None:
    layout = _recognise("dog/1.png", "cat/1.png", "cat/deep/2.png", "cover.png")

    assert layout == FolderLayout(wrapping_folder=None, given_splits=(), classes=("cat", "dog"))
    assert layout.locate(_split("cat/deep/2.png")) == Place("cat", "train")
    assert layout.locate(_split("cover.png")) is None


def test_wrapping_folder_is_taken_off() -> None:
    layout = _recognise("cells/cat/1.png", "cells/dog/1.png", "cells/cover.png", "cover.png")

    assert (layout.wrapping_folder, layout.classes) == ("cells", ("cat", "dog"))
    assert layout.locate(_split("cells/dog/1.png")) == Place("dog", "train")
    assert layout.locate(_split("cells/cover.png")) is None
    assert layout.locate(_split("cover.png")) is None


@pytest.mark.parametrize("prefix", ["", "cells/"])
def test_splits_are_honoured(prefix: str) -> None:
    layout = _recognise(*(prefix + path for path in ("train/cat/1.png", "train/dog/1.png", "Test/cat/2.png")))

    assert (layout.given_splits, layout.classes) == (("train", "test"), ("cat", "dog"))
    assert layout.locate(_split(prefix + "Test/cat/2.png")) == Place("cat", "test")
    assert layout.locate(_split(prefix + "extra/cat/2.png")) is None
    assert "train, val and test" in layout.describe()


def test_only_a_train_folder_is_a_wrapping_folder() -> None:
    assert _recognise("train/cat/1.png", "train/dog/1.png").classes == ("cat", "dog")


def test_train_may_be_a_class() -> None:
    assert _recognise("train/1.png", "bus/1.png", "car/1.png").classes == ("bus", "car", "train")


def test_splits_without_class_folders_are_no_classes() -> None:
    assert _refuse("train/1.png", "Test/1.png").code == "one_class"
    assert _recognise("train/1.png", "test/1.png", "bus/1.png").classes == ("bus", "test", "train")


def test_classes_are_sorted_by_code_point() -> None:
    assert _recognise("é/1.png", "b/1.png", "C/1.png", "10/1.png", "2/1.png").classes == ("10", "2", "C", "b", "é")


@pytest.mark.parametrize(
    "twins", [("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("cat", "cat."), ("cat", "cat "), ("straße", "STRASSE")]
)
def test_twins_are_refused_with_both_names(twins: tuple[str, str]) -> None:
    error = _refuse(*(f"{name}/1.png" for name in (*twins, "dog")))

    assert error.code == "ambiguous_class_names"
    assert all(ascii(name) in error.message for name in twins)


def test_class_names_are_composed() -> None:
    layout = _recognise("cafe\u0301/1.png", "bar/1.png")

    assert layout.classes == ("bar", "caf\u00e9")
    assert layout.locate(("cafe\u0301", "2.png")) == Place(unicodedata.normalize("NFC", "cafe\u0301"), "train")


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        (["1.png", "2.png"], "one_class"),
        (["cat/1.png", "cat/2.png"], "one_class"),
        (["cells/cat/1.png", "cells/cat/2.png"], "one_class"),
        (["test/cat/1.png", "val/dog/2.png"], "no_train_split"),
    ],
)
def test_too_few_classes_are_refused(paths: list[str], code: str) -> None:
    assert _refuse(*paths).code == code


@pytest.mark.parametrize(
    "path", ["__MACOSX/cat/1.png", "cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db", "desktop.ini", ".git/a", ".x/1.png"]
)
def test_system_files_are_ignored(path: str) -> None:
    assert is_ignored(_split(path))
    assert not is_ignored(_split("cat/1.png"))
