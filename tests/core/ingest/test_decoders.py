import json
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its address space")
def test_picture_that_kills_its_decoder_is_left_out_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.ingest.dying_decoder_process"], capture_output=True, text=True, check=True
    )

    good = ["good", "good", "good"]
    assert json.loads(done.stdout) == [good, ["good", "image_decode_crashed", "good"], good]
