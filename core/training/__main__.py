"""`python -m core.training WORK_DIR`, or `--wait FOLDER`: that says in process listings whose spare it is."""

import sys
from pathlib import Path

from core.inference.freed_memory import keep_freed_memory
from core.trainer_protocol import WAIT_FLAG
from core.training.parent import follow_parent
from core.training.run import run
from core.training.spare import wait_for_assignment

if __name__ == "__main__":
    work_dir = wait_for_assignment() if sys.argv[1] == WAIT_FLAG else Path(sys.argv[1])
    follow_parent()
    keep_freed_memory()
    sys.exit(run(work_dir))
