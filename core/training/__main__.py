"""`python -m core.training WORK_DIR`."""

import sys
from pathlib import Path

from core.training.parent import follow_parent
from core.training.run import run

if __name__ == "__main__":
    follow_parent()
    sys.exit(run(Path(sys.argv[1])))
