"""A decoding child that has been taken over: it answers what the picture tells it to."""

import sys

from api.decode_protocol import DecodeRequest

if __name__ == "__main__":
    while line := sys.stdin.buffer.readline():
        content = sys.stdin.buffer.read(DecodeRequest.model_validate_json(line).size_bytes)
        sys.stdout.buffer.write(content + b"\n")
        sys.stdout.flush()
