"""The files that an import left in the store, read in part or whole."""

from collections.abc import Callable
from typing import NoReturn

from core.datasets import StoredFile
from core.db.tables import Dataset
from core.errors import NotFoundError
from core.storage import Storage
from core.storage_errors import ObjectCorruptError
from core.storage_keys import dataset_attempt_prefix


class DatasetFiles:
    """Of one dataset that is ready; anything else is told to whoever asks for a file."""

    def __init__(self, storage: Storage, dataset: Dataset) -> None:
        self._storage = storage
        self._dataset = dataset
        self._sizes = {file.name: file.size_bytes for file in map(StoredFile.model_validate, dataset.files or [])}

    def require(self, name: str) -> None:
        """Raises NotFoundError where the import has left no such file."""
        self._find(name)

    def read(self, name: str) -> bytes:
        self._find(name)
        return self._storage.get_bytes(self._key(name))

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Only what lies inside the file can be asked for."""
        if size_bytes <= 0:
            return b""
        if offset < 0 or offset + size_bytes > self._find(name):
            raise ObjectCorruptError("object_corrupt", f"{name} of {self._dataset.id} is shorter than it should be")
        return self._storage.get_range(self._key(name), offset, size_bytes)

    def make_reader(self, name: str) -> Callable[[int, int], bytes]:
        self._find(name)
        return lambda offset, size_bytes: self.read_range(name, offset, size_bytes)

    def _find(self, name: str) -> int:
        return self._sizes[name] if name in self._sizes else self._refuse()

    def _refuse(self) -> NoReturn:
        if self._dataset.attempt is None:
            raise NotFoundError(
                "dataset_not_ready",
                "the dataset is not imported",
                hint="wait until it is `ready`; of one that `failed`, its `error` says why",
            )
        raise NotFoundError(
            "dataset_too_old", "the dataset was imported before there was such a thing", hint="import the archive again"
        )

    def _key(self, name: str) -> str:
        return dataset_attempt_prefix(self._dataset.id, self._dataset.attempt or 0) + name
