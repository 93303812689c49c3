import subprocess
import sys

import pytest

from core.ingest.limits import IngestLimits

PRINT_NETWORKS = "print([line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line])"
ENTER = "from core.ingest import sandbox; from core.ingest.limits import IngestLimits; "
CAN_UNSHARE = "import ctypes, sys; library = ctypes.CDLL(None); "
CAN_UNSHARE += "sys.exit(library.unshare(0x40000000) and library.unshare(0x50000000))"


def _run(program: str) -> subprocess.CompletedProcess[bytes]:
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
    return subprocess.CompletedProcess(process.args, process.returncode, output)


@pytest.mark.skipif(sys.platform != "linux", reason="this system has no namespaces")
def test_child_has_no_network() -> None:
    if _run(CAN_UNSHARE).returncode != 0:
        pytest.skip("this user may not make a namespace")

    assert _run(ENTER + "sandbox.enter(IngestLimits()); " + PRINT_NETWORKS).stdout == b"['lo']\n"


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse or ignore some of them")
def test_child_is_limited() -> None:
    limits = IngestLimits()
    kinds = ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_CORE")
    program = f"print([resource.getrlimit(kind)[0] for kind in ({', '.join(f'resource.{kind}' for kind in kinds)})])"
    expected = [limits.max_open_files, limits.max_file_bytes, limits.cpu_seconds, limits.memory_bytes, 0]

    assert _run(ENTER + "sandbox.enter(IngestLimits()); import resource; " + program).stdout.decode() == f"{expected}\n"
