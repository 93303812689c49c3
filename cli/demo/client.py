"""The few calls of the HTTP API that the demo makes, as any client would make them."""

from types import TracebackType
from typing import Any

import httpx
from pydantic import BaseModel, TypeAdapter

from cli.demo.cells import Cell
from cli.errors import LocalStackError

TIMEOUT_SECONDS = 120.0
BATCH = 50  # pictures a predict request


class Reason(BaseModel):
    code: str
    message: str


class Progress(BaseModel):
    stage: str
    step: int
    total_steps: int
    epoch: int
    total_epochs: int
    eta_seconds: float | None


class Job(BaseModel):
    id: str
    status: str
    terminal: bool
    status_reason: Reason | None
    progress: Progress | None
    metrics: dict[str, float]
    model_id: str | None


class MetricPoint(BaseModel):
    step: int
    epoch: int
    value: float


Series = dict[str, list[MetricPoint]]


class _Label(BaseModel):
    label: str


class _Prediction(BaseModel):
    top: _Label


class _Predictions(BaseModel):
    predictions: list[_Prediction]


class Client:
    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_SECONDS, trust_env=False
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._http.close()

    def create_job(self, body: dict[str, Any]) -> Job:  # JSON of a job, as api.md has it
        return Job.model_validate_json(self._answer(self._http.post("/jobs", json=body)))

    def get_job(self, job_id: str) -> Job:
        return Job.model_validate_json(self._answer(self._http.get(f"/jobs/{job_id}")))

    def get_metrics(self, job_id: str) -> Series:
        return TypeAdapter(Series).validate_json(self._answer(self._http.get(f"/jobs/{job_id}/metrics")))

    def predict(self, model_id: str, cells: list[Cell]) -> list[str]:
        """The most likely label of each cell."""
        labels: list[str] = []
        for start in range(0, len(cells), BATCH):
            labels += self._predict_batch(model_id, cells[start : start + BATCH])
        return labels

    def _predict_batch(self, model_id: str, cells: list[Cell]) -> list[str]:
        files = [("files", (cell.path.name, cell.path.read_bytes(), "image/png")) for cell in cells]
        answer = self._answer(self._http.post("/predict", data={"model": model_id}, files=files))
        return [prediction.top.label for prediction in _Predictions.model_validate_json(answer).predictions]

    def _answer(self, response: httpx.Response) -> str:
        if response.is_error:
            raise LocalStackError(
                f"{response.request.method} {response.url} answered {response.status_code}: {response.text}"
            )
        return response.text
