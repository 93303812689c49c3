"""`python -m api.decode_child FD BYTES`: pictures to pixels for the decode pool, under limits, without torch.

Requests come on standard input: one JSON line with the sizes, then the bytes. The pixels go into the memory behind
the inherited descriptor FD, and one JSON line with the outcome to standard output.
"""

import ctypes
import mmap
import resource
import signal
import sys

import numpy as np

from api.decode_protocol import DecodeRequest, PictureRefused, PictureSize
from core.images import ImageError, decode_rgb
from core.inference.preprocessing import prepare

PR_SET_PDEATHSIG = 1


def main(descriptor: int, memory_bytes: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with mmap.mmap(descriptor, 0) as shared:
        while line := sys.stdin.buffer.readline():
            request = DecodeRequest.model_validate_json(line)
            answer = _decode(sys.stdin.buffer.read(request.size_bytes), request, shared)
            sys.stdout.write(answer.model_dump_json() + "\n")
            sys.stdout.flush()


def _decode(content: bytes, request: DecodeRequest, shared: mmap.mmap) -> PictureSize | PictureRefused:
    try:
        image = decode_rgb(content, request.limits)
        pixels = prepare(image, request.preprocessing)
    except ImageError as exc:
        return PictureRefused(code=exc.code, message=exc.message)
    np.frombuffer(shared, dtype=np.uint8, count=pixels.size)[:] = pixels.reshape(-1)
    return PictureSize(width=image.width, height=image.height)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
