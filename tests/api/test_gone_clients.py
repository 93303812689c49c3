import asyncio

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from api.gone_clients import unless_gone


class Client:
    """Sends nothing more, until it hangs up."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    async def receive(self) -> Message:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    def make_request(self) -> Request:
        return Request({"type": "http"}, self.receive)


def test_result_comes_back_and_nobody_waits_for_the_client_any_longer() -> None:
    async def ask() -> tuple[int, int]:
        async def work() -> int:
            return 7

        result = await unless_gone(Client().make_request(), work())
        await asyncio.sleep(0)
        return result, len(asyncio.all_tasks())

    assert asyncio.run(ask()) == (7, 1)


def test_work_for_a_client_that_hangs_up_is_cancelled() -> None:
    async def ask() -> bool:
        client, ended = Client(), asyncio.Event()

        async def work() -> None:
            client.hung_up.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(ClientDisconnect):
            await unless_gone(client.make_request(), work())
        await asyncio.sleep(0)
        return ended.is_set()

    assert asyncio.run(ask())


def test_error_of_the_work_is_raised() -> None:
    async def ask() -> None:
        async def work() -> None:
            raise LookupError

        await unless_gone(Client().make_request(), work())

    with pytest.raises(LookupError):
        asyncio.run(ask())
