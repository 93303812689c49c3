"""What every part of the benchmark works on."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.predict.load import Target
from benchmarks.predict.pictures import write_pictures
from benchmarks.predict.published import ModelFiles, make_model_files, make_predict_key, publish_models
from benchmarks.stack import serve_api
from core.settings import Settings

COUNTED_BUT_NOT_LIMITED = 1_000_000


class Setting(NamedTuple):
    settings: Settings
    files: ModelFiles
    pictures: Path
    secret: str
    seconds: float  # of a round
    device: str
    environment: Mapping[str, str]  # of the API, beside the settings

    def publish(self, count: int = 1) -> list[str]:
        return publish_models(self.settings, self.files, count)

    def aim(self, url: str, model_ids: list[str]) -> Target:
        return Target([f"{url}/models/{model_id}/predict" for model_id in model_ids], self.secret, self.pictures)

    @contextmanager
    def serve(self, environment: Mapping[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """The API that knows no model yet."""
        with serve_api(self.settings, {**self.environment, **(environment or {})}) as served:
            yield served


def make_setting(settings: Settings, *, seconds: float, device: str, environment: Mapping[str, str]) -> Setting:
    allowing = settings.model_copy(update={"quota_requests_per_second": COUNTED_BUT_NOT_LIMITED})
    return Setting(
        settings=allowing,
        files=make_model_files(settings.home / "benchmark-model"),
        pictures=write_pictures(settings.home / "benchmark-pictures"),
        secret=make_predict_key(settings),
        seconds=seconds,
        device=device,
        environment=environment,
    )
