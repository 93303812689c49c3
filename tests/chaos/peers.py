"""Both ends of what the fault proxy carries."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple, Self

LOST = (OSError, EOFError)  # what asyncio raises once a peer is gone
BUFFER_BYTES = 256 * 1024
LINGER_NONE = struct.pack("ii", 1, 0)


class Address(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True)
class Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, address: Address) -> Self:
        return cls(*await asyncio.open_connection(*address, limit=BUFFER_BYTES))

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def close(self) -> None:
        """By FIN, after what was sent."""
        self.writer.close()
        await self.writer.wait_closed()

    def reset(self) -> None:
        """By RST, at once."""
        transport = self.writer.transport
        if not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        transport.abort()
