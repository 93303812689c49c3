import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.model_files import ModelFiles
from core.inference.model_card import WEIGHTS_FILE
from core.settings import Settings
from core.storage import Storage
from core.storage_client import IMPATIENT
from core.storage_keys import model_prefix
from tests.chaos.s3_faults import Slow
from tests.chaos.s3_proxy import S3Proxy, run_s3_proxy

SIZE = 100_000


@pytest.fixture
def proxy(settings: Settings) -> Iterator[S3Proxy]:
    """Counts what is read of weights, and lets each read take a fifth of a second."""
    with run_s3_proxy(settings) as proxy:
        proxy.set_fault(Slow(bytes_per_second=5 * SIZE, methods=frozenset({"GET"}), key_pattern=WEIGHTS_FILE))
        yield proxy


class Host:
    """A host's cache on the disk, as each of its processes opens it."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self.directory = directory
        self.living = {"a", "b", "c"}
        self._storage = storage

    def open_process(self, *, room_for: int = 10) -> ModelFiles:
        return ModelFiles(
            self.directory, self._storage, capacity_bytes=room_for * SIZE, find_living=self.living.intersection
        )

    def list_models(self) -> set[str]:
        return {path.stem for path in self.directory.glob("*.safetensors")}


@pytest.fixture
def host(settings: Settings, proxy: S3Proxy, tmp_path: Path) -> Host:
    behind_proxy = settings.model_copy(update={"s3_endpoint_url": proxy.url})
    return Host(tmp_path / "models", Storage.from_settings(behind_proxy, IMPATIENT))


@pytest.fixture
def digests(storage: Storage, tmp_path: Path) -> dict[str, str]:
    """The SHA-256 of the weights of three models in the store."""
    digests = {}
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(os.urandom(SIZE))
        digests[name] = storage.put_file(model_prefix(name) + WEIGHTS_FILE, tmp_path / name).sha256
    return digests


def read(files: ModelFiles, name: str, digests: dict[str, str]) -> bytes:
    with files.opened(name, sha256=digests[name]) as path:
        return path.read_bytes()


def test_processes_that_want_a_model_at_once_fetch_it_once(
    host: Host, proxy: S3Proxy, digests: dict[str, str], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        processes = [host.open_process() for _ in range(4)]
        contents = list(pool.map(lambda files: read(files, "a", digests), processes))

    assert contents == [(tmp_path / "a").read_bytes()] * 4
    assert proxy.hits == 1


def test_damaged_file_is_fetched_anew(host: Host, proxy: S3Proxy, digests: dict[str, str], tmp_path: Path) -> None:
    read(host.open_process(), "a", digests)
    (path,) = host.directory.glob("*.safetensors")
    path.write_bytes(b"x" + path.read_bytes()[1:])

    assert read(host.open_process(), "a", digests) == (tmp_path / "a").read_bytes()
    assert proxy.hits == 2


def test_model_used_longest_ago_makes_room(host: Host, digests: dict[str, str]) -> None:
    files = host.open_process(room_for=2)
    for age, name in ((200, "a"), (100, "b")):
        read(files, name, digests)
        path = host.directory / f"{name}.safetensors"
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))

    read(files, "c", digests)

    assert host.list_models() == {"b", "c"}


def test_deleted_model_leaves_the_disk_with_the_next_download(host: Host, digests: dict[str, str]) -> None:
    files = host.open_process()
    read(files, "a", digests)
    host.living.remove("a")

    read(files, "b", digests)

    assert host.list_models() == {"b"}


def test_model_that_is_being_loaded_is_not_removed(host: Host, digests: dict[str, str]) -> None:
    with host.open_process().opened("a", sha256=digests["a"]) as path:
        read(host.open_process(room_for=1), "b", digests)

        assert path.exists()
