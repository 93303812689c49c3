"""`python -m tests.cli.owner HOME`: starts the servers, says so, and waits to be killed."""

import signal
import sys
from pathlib import Path

from cli.home import Home
from cli.servers import Servers

if __name__ == "__main__":
    servers = Servers(Home(Path(sys.argv[1])))
    servers.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.pause()
