"""`python -m core.training WORK_DIR`."""

import sys
from pathlib import Path

from core.training.memory import keep_freed_memory
from core.training.parent import follow_parent
from core.training.run import run

if __name__ == "__main__":
    follow_parent()
    keep_freed_memory()
    sys.exit(run(Path(sys.argv[1])))
