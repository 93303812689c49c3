"""Jobs without end, and somebody who polls them."""

import random
import threading
import time
import zipfile
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO

import httpx

from cli.demo.cells import draw_cells
from core.states import TERMINAL
from tests.chaos.background import running_beside
from tests.chaos.client import Client, Json
from tests.chaos.history import Expectation, History, Poll, Refusal
from tests.chaos.records import Records
from tests.chaos.stack import BACKBONE, Stack

POLL_SECONDS = 0.4
CELLS = 60
EPOCHS = 30  # of two steps
VARIANTS: dict[str, Json] = {
    "bi_tuning-0": {"method": {"type": "bi_tuning"}, "seed": 0},
    "vanilla-0": {"method": {"type": "vanilla"}, "seed": 0},
    "bi_tuning-1": {"method": {"type": "bi_tuning"}, "seed": 1},
    "bi_tuning-noise": {"method": {"type": "bi_tuning", "queue_fill": "noise"}, "seed": 0},
}
DEFAULT_VARIANT = "bi_tuning-0"
POISON = "poison"


class Load:
    """Posts by one client, polls by another; whatever it sees goes into the history."""

    def __init__(self, stack: Stack, records: Records, history: History, dataset_id: str, *, variants: int) -> None:
        self._stack = stack
        self._records = records
        self._history = history
        self._dataset_id = dataset_id
        self._variants = list(VARIANTS)[:variants]
        self._random = random.Random(history.seed)  # noqa: S311 - a schedule that replays, no secret
        self._open: set[str] = set()  # jobs that no poll has seen end

    def post(self, name: str, expects: Expectation = "model", *, epochs: int = EPOCHS) -> str:
        spec = VARIANTS.get(name, VARIANTS[DEFAULT_VARIANT])
        body = spec | {
            "dataset_id": self._dataset_id,
            "backbone": BACKBONE,
            "training": {"epochs": epochs, "batch_size": 16, "image_size": 64},
            "name": name,
            "metadata": {"expects": expects},
        }
        with self._make_client() as client:
            answer = client.insist("POST", "/jobs", json=body)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        job_id = str(answer.json()["id"])
        self._history.acknowledged.append(job_id)
        self._open.add(job_id)
        return job_id

    def run_references(self) -> None:
        """Nothing is disturbed yet."""
        jobs = {name: self.post(name) for name in self._variants}
        while any(self._records.find_status(job_id)[0] not in TERMINAL for job_id in jobs.values()):
            time.sleep(POLL_SECONDS)
        ends = {end.job_id: end for end in self._records.list_ends()}
        references = {name: ends[job_id].weights_sha256[0] for name, job_id in jobs.items()}
        self._history.references = references | {POISON: references[DEFAULT_VARIANT]}  # should it live

    def keep(self, count: int) -> AbstractContextManager[None]:
        """As many jobs as `count` are queued or running for as long as the block lasts."""
        return running_beside("poster", partial(self._post_jobs, count=count))

    def watched(self) -> AbstractContextManager[None]:
        return running_beside("poller", self._poll_jobs)

    def poll_all(self) -> None:
        """Every accepted job once more: what was said of an end has to hold."""
        with self._make_client() as client:
            for job_id in self._history.acknowledged:
                self._note(job_id, client.insist("GET", f"/jobs/{job_id}"))

    def _make_client(self) -> Client:
        return Client(self._stack.url, self._stack.key)

    def _post_jobs(self, ended: threading.Event, *, count: int) -> None:
        while not ended.wait(POLL_SECONDS):
            if self._records.count_open() < count:
                self.post(self._random.choice(self._variants))

    def _poll_jobs(self, ended: threading.Event) -> None:
        with self._make_client() as client:
            while not ended.wait(POLL_SECONDS):
                if client.is_all_well():
                    self._history.ready_at.append(time.time())
                for job_id in sorted(self._open):
                    self._poll(client, job_id)

    def _poll(self, client: Client, job_id: str) -> None:
        answer = client.ask("GET", f"/jobs/{job_id}")
        if answer is not None and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            self._note(job_id, answer)

    def _note(self, job_id: str, answer: httpx.Response) -> None:
        if answer.status_code != httpx.codes.OK:
            self._history.refusals.append(Refusal(time.time(), job_id, answer.status_code, answer.text[:200]))
            return
        poll = _read_poll(answer.json())
        self._history.polls.append(poll)
        if poll.status in TERMINAL:
            self._open.discard(job_id)


def make_archive() -> bytes:
    """Real pictures, of solar cells."""
    buffer = BytesIO()
    (cells,) = draw_cells(CELLS, seed=0)
    with zipfile.ZipFile(buffer, "w") as archive:
        for cell in cells:
            archive.write(cell.path, cell.member_name)
    return buffer.getvalue()


def _read_poll(job: Json) -> Poll:
    attempts, progress = job["attempts"], job["progress"] or {}
    newest = attempts[-1] if attempts else {}
    return Poll(
        at=time.time(),
        job_id=job["id"],
        status=job["status"],
        attempt=newest.get("number", 0),
        stage=progress.get("stage"),
        step=progress.get("step"),
        resumed_from_step=newest.get("resumed_from_step"),
    )
