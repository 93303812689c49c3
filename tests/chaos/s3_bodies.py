"""Bodies as they pass the fault proxy: slowed, broken off, damaged."""

import asyncio
from collections.abc import AsyncIterator
from typing import assert_never

from tests.chaos.http_messages import Request
from tests.chaos.peers import Peer
from tests.chaos.s3_faults import BodyFault, Reset, Slow
from tests.chaos.s3_switch import FaultSwitch

PIECE_BYTES = 64 * 1024
SLOW_PIECES_PER_SECOND = 20
FLIPPED_BITS = bytes(value ^ 1 for value in range(256))


class BodyCarrier:
    """Asks at every piece which fault is on: a body on its way feels a fault that is set or healed meanwhile."""

    def __init__(self, request: Request, faults: FaultSwitch) -> None:
        self._request = request
        self._faults = faults

    def piece_size(self) -> int:
        """Small while the body is slowed, so that it flows evenly and healing is felt soon."""
        fault = self._find_fault()
        return max(1, fault.bytes_per_second // SLOW_PIECES_PER_SECOND) if isinstance(fault, Slow) else PIECE_BYTES

    async def carry(self, body: AsyncIterator[bytes], receiver: Peer) -> None:
        carried_bytes = 0
        async for piece in body:
            await self._suffer(piece, carried_bytes, receiver)
            await receiver.send(piece)
            carried_bytes += len(piece)

    async def _suffer(self, piece: bytes, carried_bytes: int, receiver: Peer) -> None:
        fault = self._find_fault()
        match fault:
            case None:
                pass
            case Slow():
                self._faults.count(self._request, fault)
                await asyncio.sleep(len(piece) / fault.bytes_per_second)
            case Reset() if carried_bytes + len(piece) < fault.after_bytes:
                pass
            case Reset():
                self._faults.count(self._request, fault)
                await receiver.send(piece[: max(0, fault.after_bytes - carried_bytes)])
                raise ConnectionResetError
            case _:
                assert_never(fault)

    def _find_fault(self) -> BodyFault | None:
        fault = self._faults.find(self._request)
        return fault if isinstance(fault, BodyFault) else None


async def drain(body: AsyncIterator[bytes]) -> None:
    async for _ in body:
        pass


async def flip(body: AsyncIterator[bytes], *, from_byte: int) -> AsyncIterator[bytes]:
    """Damages every byte from that one on by one bit."""
    position = 0
    async for piece in body:
        kept = piece[: max(0, from_byte - position)]
        yield kept + piece[len(kept) :].translate(FLIPPED_BITS)
        position += len(piece)
