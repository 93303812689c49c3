"""Prefixed, sortable identifiers: a UUIDv7 in lower-case Crockford base32 (RFC 9562)."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26  # characters that 128 bits need at 5 bits each


def make_id(prefix: str) -> str:
    """`ds_01k…`: ids made later sort later, down to the millisecond."""
    return f"{prefix}_{_encode(_uuid7())}"


def _uuid7() -> int:
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10))
    value = (milliseconds & ((1 << 48) - 1)) << 80 | random_bits
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    return value & ~(0x3 << 62) | 0x2 << 62  # RFC variant


def _encode(value: int) -> str:
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
