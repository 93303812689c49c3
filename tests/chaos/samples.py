"""Random bytes and what is known of them."""

import hashlib
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    key: str
    content: bytes
    sha256: str


def make_sample(key: str, *, size_bytes: int) -> Sample:
    content = os.urandom(size_bytes)
    return Sample(key=key, content=content, sha256=hashlib.sha256(content).hexdigest())
