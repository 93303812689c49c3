"""What happens to imports: the importer dies over them."""

import random
import signal
import time

from tests.chaos.client import Client
from tests.chaos.history import Injected
from tests.chaos.records import Records
from tests.chaos.stack import Stack
from tests.end_to_end.faults import find_descendants, signal_all

IMPORT_SECONDS = 3.0  # about what one takes, from its hint on


class ImportFaults:
    def __init__(self, stack: Stack, client: Client, records: Records, archive: bytes) -> None:
        self._stack = stack
        self._client = client
        self._records = records
        self._archive = archive

    def kill_importer(self, rng: random.Random) -> Injected | None:
        """At any moment of an import, with the child that opens the archive; another process goes on."""
        dataset_id = self._client.upload(self._archive)
        time.sleep(rng.uniform(0, IMPORT_SECONDS))  # so that the kill comes at any moment
        at = time.time()
        if not signal_all(find_descendants(self._stack.importer.pid), signal.SIGKILL):
            return None
        return Injected("importer: kill -9", at, at, [self._records.find_import(dataset_id)])
