"""Requests by the contract's own grammar, right and wrong ones: no 5xx, nothing that it does not document."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.db.session import SessionFactory
from core.keys import ensure_project
from tests.factories import make_backbone, make_dataset, make_job

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = int(os.environ.get("BITUNE_FUZZ_EXAMPLES", "5"))  # of each route; the long run takes hundreds


@pytest.mark.timeout(3600 if EXAMPLES > 100 else 120)
def test_no_request_breaks_the_contract(api_url: str, secret: str, sessions: SessionFactory, tmp_path: Path) -> None:
    with sessions.begin() as session:
        make_backbone(session)
        dataset = make_dataset(session, project_id=ensure_project(session))
        make_job(session, project_id=dataset.project_id, dataset=dataset)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api_url}/openapi.json"),
        *("--header", f"Authorization: Bearer {secret}", "--checks", CHECKS, "--phases", "examples,fuzzing"),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink", "--continue-on-failure"),
        *("--exclude-path-regex", "^/(livez|readyz|metrics|keys/.*)$", "--request-timeout", "80"),
    ]

    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stdout[-20_000:] + finished.stderr[-2_000:]
