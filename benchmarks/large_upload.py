"""A large archive on its way into the API, as a form; the client holds a mebibyte of it."""

import hashlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx

from benchmarks.process_watch import ProcessWatch
from benchmarks.stack import serve_api
from core.db.session import make_engine, make_session_factory
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings

MEBIBYTE = 1024**2
BOUNDARY = "bitune-benchmark"
FIELDS = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\nlarge\r\n'
FILE_HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.zip"\r\n\r\n'
FOOT = f"\r\n--{BOUNDARY}--\r\n"


class Measured(NamedTuple):
    size_bytes: int
    seconds: float
    growth_bytes: int
    written_bytes: int
    new_files: set[str]


def measure_upload(settings: Settings, *, size_mib: int) -> Measured:
    """In an API process of its own that has received a small archive before. What arrives is what was sent."""
    with serve_api(settings) as (process, url), _make_client(settings, url) as client:
        _upload(client, size_mib=1)
        began_at = time.monotonic()
        with ProcessWatch(process.pid) as watch:
            _upload(client, size_mib=size_mib)
        seconds = time.monotonic() - began_at
    return Measured(size_mib * MEBIBYTE, seconds, watch.growth_bytes, watch.written_bytes, watch.new_files)


def _make_client(settings: Settings, url: str) -> httpx.Client:
    engine = make_engine(settings.database_url.get_secret_value())
    with make_session_factory(engine).begin() as session:
        key = create_key(session, project_id=ensure_project(session), name="benchmark", scopes=ALL_SCOPES)
    engine.dispose()
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key.secret}"}, trust_env=False, timeout=httpx.Timeout(60)
    )


def _upload(client: httpx.Client, *, size_mib: int) -> None:
    digest = hashlib.sha256()
    length = len(FIELDS) + len(FILE_HEAD) + size_mib * MEBIBYTE + len(FOOT)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(length)}
    answer = client.post("/datasets", content=_make_body(size_mib, digest), headers=headers)
    assert answer.status_code == 202, answer.text
    dataset = answer.json()
    assert (dataset["size_bytes"], dataset["sha256"]) == (size_mib * MEBIBYTE, digest.hexdigest())


def _make_body(size_mib: int, digest: "hashlib._Hash") -> Iterator[bytes]:
    yield (FIELDS + FILE_HEAD).encode()
    for number in range(size_mib):
        block = (b"PK\x03\x04" + number.to_bytes(4)).ljust(MEBIBYTE, b"x")
        digest.update(block)
        yield block
    yield FOOT.encode()
