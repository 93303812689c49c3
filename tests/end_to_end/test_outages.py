"""Any one server away, killed or hanging: what can be answered is, the rest is a 503 in time, and it mends itself."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from cli.commands import make_api_command
from cli.environment import make_environment
from cli.home import Home
from cli.ports import LOOPBACK, find_free_port
from cli.postgres import Postgres
from cli.process import GuardedProcess
from cli.seaweed import Seaweed
from cli.servers import Servers
from cli.valkey import Valkey
from core.db.migrate import upgrade
from core.db.session import make_engine, make_session_factory
from core.job_records import record_segments
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings
from core.storage import PART_BYTES, Storage
from core.storage_keys import log_segment_key
from tests.conditions import wait_until
from tests.end_to_end.faults import hanging, kill
from tests.factories import claim_run, make_dataset, make_job

ANSWER_SECONDS = 10.0
READY_SECONDS = 3.0
HINT_SECONDS = 3.0
RECOVERY_SECONDS = 20.0
CROWD = 60  # more than the API has threads
ARCHIVE = b"PK\x03\x04" + bytes(2 * PART_BYTES)  # what is in it is for the importer
ALL_WELL = [200, 200, 200, 200, 200, 202, 202]


class InterruptedFile(BytesIO):
    """Stops in the middle until told to go on."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.is_halfway = threading.Event()
        self.may_go_on = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(ARCHIVE) / 2 and not self.may_go_on.is_set():
            self.is_halfway.set()
            self.may_go_on.wait()
        return super().read(size)


class Answer(NamedTuple):
    response: httpx.Response
    seconds: float

    @property
    def status(self) -> int:
        return self.response.status_code


class Answers(NamedTuple):
    alive: Answer
    ready: Answer
    job_list: Answer
    job: Answer
    log: Answer
    posted: Answer
    uploaded: Answer

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self]

    @property
    def slowest_seconds(self) -> float:
        return max(answer.seconds for answer in self)


class Seed(NamedTuple):
    """What the requests are about: a job with a log."""

    secret: str
    dataset_id: str
    job_id: str


class Stack:
    """A service whose servers are broken on purpose, and a client of it."""

    def __init__(self, servers: Servers, client: httpx.Client, seed: Seed) -> None:
        self.servers = servers
        self.client = client
        self._seed = seed

    def ask(self) -> Answers:
        """All at once, as users would."""
        job = f"/jobs/{self._seed.job_id}"
        paths = ["/livez", "/readyz", "/jobs", job, f"{job}/log"]
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(self.get, path) for path in paths]
            asked += [pool.submit(self.post_job), pool.submit(self.upload, BytesIO(ARCHIVE))]
        return Answers(*(future.result() for future in asked))

    def get(self, path: str) -> Answer:
        started = time.monotonic()
        return Answer(self.client.get(path), time.monotonic() - started)

    def post_job(self) -> Answer:
        started = time.monotonic()
        body = {"dataset_id": self._seed.dataset_id, "backbone": "tiny"}
        return Answer(self.client.post("/jobs", json=body), time.monotonic() - started)

    def upload(self, file: BytesIO) -> Answer:
        started = time.monotonic()
        response = self.client.post("/datasets", files={"file": ("a.zip", file)}, data={"name": "a"})
        return Answer(response, time.monotonic() - started)

    def wait_until_well(self) -> None:
        wait_until(lambda: self.ask().statuses == ALL_WELL, seconds=RECOVERY_SECONDS)
        assert self.get("/readyz").response.json()["status"] == "ok"


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    path = Path(tempfile.mkdtemp(prefix="bitune-outages-"))
    path.chmod(0o711)
    home = Home(path)
    yield home
    home.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def stack(home: Home) -> Iterator[Stack]:
    servers = Servers(home)
    port = find_free_port(set(home.ports.values()))
    settings = servers.make_settings()
    api = GuardedProcess(
        "api",
        make_api_command(host=LOOPBACK, port=port, log_level="info"),
        home=home,
        log_name="api",
        environment=make_environment(settings),
    )
    try:
        servers.start()
        seed = make_seed(settings)
        api.start()
        with httpx.Client(
            base_url=f"http://{LOOPBACK}:{port}",
            headers={"Authorization": f"Bearer {seed.secret}"},
            trust_env=False,
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),  # none that the API closes while we begin to use it
        ) as client:
            api.wait_until(lambda: is_listening(client), seconds=60)
            yield Stack(servers, client, seed)
    finally:
        api.ask_to_stop()
        api.wait_for_end()
        servers.stop()


def is_listening(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False


def make_seed(settings: Settings) -> Seed:
    url = settings.database_url.get_secret_value()
    upgrade(url)
    storage = Storage.from_settings(settings)
    storage.ensure_bucket()
    engine = make_engine(url)
    with make_session_factory(engine).begin() as session:
        project_id = ensure_project(session)
        secret = create_key(session, project_id=project_id, name="test", scopes=ALL_SCOPES).secret
        dataset = make_dataset(session, project_id=project_id)
        job = make_job(session, project_id=project_id, dataset=dataset)
        held = claim_run(session)
        record_segments(session, held, metric_segments=0, log_segments=1)
        storage.put_bytes(log_segment_key(job.id, held.attempt, 1), b"a line\n")
        seed = Seed(secret=secret, dataset_id=dataset.id, job_id=job.id)
    engine.dispose()
    return seed


@pytest.fixture(autouse=True)
def well(stack: Stack) -> None:
    """Every test starts with all servers up and connections to each in the pools."""
    stack.wait_until_well()


def assert_unavailable(*answers: Answer) -> None:
    for answer in answers:
        assert answer.status == 503, answer.response.text
        assert answer.response.headers["content-type"] == "application/problem+json"
        assert answer.response.headers["retry-after"]
        assert answer.response.json()["retryable"] is True


def assert_not_ready(answer: Answer, *names: str) -> None:
    checks = answer.response.json()["checks"]
    assert [name for name, result in checks.items() if result == "failed"] == list(names)
    assert answer.seconds < READY_SECONDS


def assert_database_is_missed(answers: Answers) -> None:
    assert answers.alive.status == 200
    assert answers.alive.seconds < 1
    assert answers.ready.status == 503
    assert_not_ready(answers.ready, "database", "migrations")
    assert_unavailable(answers.job_list, answers.job, answers.log, answers.posted, answers.uploaded)
    assert answers.slowest_seconds < ANSWER_SECONDS


def assert_storage_is_missed(answers: Answers) -> None:
    assert answers.statuses == [200, 503, 200, 200, 503, 202, 503]
    assert_not_ready(answers.ready, "storage")
    assert_unavailable(answers.log, answers.uploaded)
    assert answers.slowest_seconds < ANSWER_SECONDS
    assert max(answers.job_list.seconds, answers.job.seconds, answers.posted.seconds) < HINT_SECONDS


def assert_broker_is_missed_by_uploads_alone(answers: Answers) -> None:
    """Nobody counts them meanwhile."""
    assert answers.statuses == [*ALL_WELL[:-1], 503]
    assert_unavailable(answers.uploaded)
    assert answers.uploaded.response.json()["code"] == "limits_unavailable"
    assert answers.ready.response.json()["status"] == "degraded"
    assert_not_ready(answers.ready, "broker")
    assert answers.slowest_seconds < HINT_SECONDS


def test_hanging_database(stack: Stack) -> None:
    with hanging(stack.servers.postgres.process), ThreadPoolExecutor(CROWD) as crowd:
        asked = [crowd.submit(stack.get, "/jobs") for _ in range(CROWD)]
        answers = stack.ask()
        others = [future.result() for future in asked]

    assert_database_is_missed(answers)
    assert_unavailable(*others)
    assert max(answer.seconds for answer in others) < ANSWER_SECONDS
    stack.wait_until_well()


def test_killed_database(stack: Stack) -> None:
    kill(stack.servers.postgres.process)

    assert_database_is_missed(stack.ask())

    restart(stack.servers.postgres)
    stack.wait_until_well()


def test_hanging_storage(stack: Stack) -> None:
    file = InterruptedFile(ARCHIVE)
    with ThreadPoolExecutor() as pool:
        upload = pool.submit(stack.upload, file)
        file.is_halfway.wait(ANSWER_SECONDS)
        with hanging(stack.servers.seaweed.process):
            file.may_go_on.set()
            answers = stack.ask()
            interrupted = upload.result()

    assert_storage_is_missed(answers)
    assert_unavailable(interrupted)
    assert interrupted.seconds < ANSWER_SECONDS
    stack.wait_until_well()


def test_killed_storage(stack: Stack) -> None:
    kill(stack.servers.seaweed.process)

    assert_storage_is_missed(stack.ask())

    restart(stack.servers.seaweed)
    stack.wait_until_well()


def test_hanging_broker(stack: Stack) -> None:
    with hanging(stack.servers.valkey.process):
        answers = stack.ask()
        second = stack.post_job()

    assert_broker_is_missed_by_uploads_alone(answers)
    assert second.seconds < 1  # no hint is tried so soon after one that failed
    stack.wait_until_well()


def test_killed_broker(stack: Stack) -> None:
    kill(stack.servers.valkey.process)

    assert_broker_is_missed_by_uploads_alone(stack.ask())

    restart(stack.servers.valkey)
    stack.wait_until_well()


def restart(server: Postgres | Valkey | Seaweed) -> None:
    server.process.wait_for_end()
    server.start()
    server.wait()
