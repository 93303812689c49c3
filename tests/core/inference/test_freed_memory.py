import platform
import subprocess
import sys

import pytest

BYTES = 100 * 1024**2  # more than glibc keeps for a thread
PR_SET_THP_DISABLE = 41  # a huge page is one fault
SCRIPT = """
import ctypes, resource, sys, threading
ctypes.CDLL(None).prctl({no_huge_pages}, 1, 0, 0, 0)
import torch
from core.inference.freed_memory import give_back_freed_memory, keep_freed_memory

def fill():
    torch.ones({size}, dtype=torch.uint8)

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def run():
    for _ in range(20):
        fill()  # to align it the first few leave gaps
    print(count_faults())
    give_back_freed_memory()
    print(count_faults())

torch.set_num_threads(1)
if "keep" in sys.argv:
    keep_freed_memory()
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's alone: elsewhere nothing is kept")
@pytest.mark.parametrize(("argument", "is_kept"), [("keep", True), ("", False)])
def test_thread_gets_what_it_freed_without_a_page_fault(argument: str, is_kept: bool) -> None:
    """Without it each page of the tensor is one; given back, it is one again."""
    command = [sys.executable, "-c", SCRIPT.format(size=BYTES, no_huge_pages=PR_SET_THP_DISABLE), argument]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    again, after_giving_back = map(int, done.stdout.split())

    assert (again < 100) == is_kept
    assert after_giving_back > 1000
