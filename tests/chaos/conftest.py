"""The fault proxy before the real object store."""

from collections.abc import Iterator

import pytest

from core.settings import Settings
from core.storage import PART_BYTES, Storage
from core.storage_client import IMPATIENT
from tests.chaos.s3_proxy import S3Proxy, run_s3_proxy
from tests.chaos.samples import Sample, make_sample


@pytest.fixture(scope="session")
def running_proxy(settings: Settings) -> Iterator[S3Proxy]:
    with run_s3_proxy(settings) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: S3Proxy) -> Iterator[S3Proxy]:
    """Disturbs nothing before and after a test."""
    yield running_proxy
    running_proxy.set_fault(None)


@pytest.fixture
def storage(proxy: S3Proxy, settings: Settings) -> Storage:
    """Reached through the proxy; new for each test, as botocore stops to retry after many failures."""
    return Storage.from_settings(settings.model_copy(update={"s3_endpoint_url": proxy.url}), IMPATIENT)


@pytest.fixture(scope="session")
def direct(settings: Settings) -> Storage:
    return Storage.from_settings(settings)


@pytest.fixture(scope="session")
def stored(direct: Storage) -> Sample:
    """An object of several parts that the store has."""
    sample = make_sample("stored/a", size_bytes=2 * PART_BYTES + 7)
    with direct.open_upload(sample.key) as upload:
        upload.write(sample.content)
    return sample
