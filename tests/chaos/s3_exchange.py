"""One request and its answer on their way through the fault proxy."""

import asyncio
from typing import Never, assert_never

from tests.chaos.http_messages import Answer, Request, make_error_answer, read_sized
from tests.chaos.peers import LOST, Address, Peer
from tests.chaos.s3_bodies import BodyCarrier, drain, flip
from tests.chaos.s3_faults import AnswerFault, Corrupt, Hang, LostAnswer, Refuse, RequestFault, Truncate, Unavailable
from tests.chaos.s3_switch import FaultSwitch

HANG_POLL_SECONDS = 0.05


class Exchange:
    def __init__(self, request: Request, client: Peer, upstream: Address, faults: FaultSwitch) -> None:
        self._request = request
        self._client = client
        self._upstream = upstream
        self._faults = faults
        self._carrier = BodyCarrier(request, faults)

    async def run(self) -> bool:
        """Whether the client's connection can carry another request; raises one of `LOST` when it must be reset."""
        fault = self._faults.find(self._request)
        if not isinstance(fault, RequestFault):
            return await self._forward()
        self._faults.count(self._request, fault)
        match fault:
            case Unavailable():
                return await self._answer_error(fault)
            case Hang():
                return await self._hang(fault)
            case Refuse():
                raise ConnectionResetError
            case _:
                assert_never(fault)

    async def _answer_error(self, fault: Unavailable) -> bool:
        if not self._request.expects_continue:  # a close with bytes unread would reset the answer away
            await drain(self._request.read_body(self._client.reader, self._carrier.piece_size))
        await self._client.send(make_error_answer(fault.status, fault.code, method=self._request.method))
        return False

    async def _hang(self, fault: Hang) -> Never:
        while self._faults.is_on(fault):
            await asyncio.sleep(HANG_POLL_SECONDS)
        raise ConnectionResetError

    async def _forward(self) -> bool:
        upstream = await Peer.connect(self._upstream)
        sending = asyncio.create_task(self._send_request(upstream))
        try:
            return await self._pass_answer(upstream) and sending.done()
        finally:
            sending.cancel()
            upstream.reset()

    async def _send_request(self, upstream: Peer) -> None:
        try:
            await upstream.send(self._request.raw)
            await self._carrier.carry(self._request.read_body(self._client.reader, self._carrier.piece_size), upstream)
        except LOST:
            upstream.reset()  # ends the wait for an answer too

    async def _pass_answer(self, upstream: Peer) -> bool:
        while (answer := await Answer.read(upstream.reader)).is_interim:
            await self._client.send(answer.raw)
        body = answer.read_body(upstream.reader, self._carrier.piece_size, method=self._request.method)
        fault = self._find_fault(answer)
        match fault:
            case None:
                pass
            case LostAnswer():
                await drain(body)
                raise ConnectionResetError
            case Truncate():
                sent_bytes = int(answer.size_bytes * fault.fraction)
                body = read_sized(upstream.reader, sent_bytes, self._carrier.piece_size)
            case Corrupt():
                body = flip(body, from_byte=answer.size_bytes // 2)
            case _:
                assert_never(fault)
        await self._client.send(answer.raw)
        await self._carrier.carry(body, self._client)
        return not (isinstance(fault, Truncate) or answer.ends_by_close or self._request.closes)

    def _find_fault(self, answer: Answer) -> AnswerFault | None:
        fault = self._faults.find(self._request)
        if not isinstance(fault, AnswerFault) or (isinstance(fault, Truncate | Corrupt) and not answer.has_object):
            return None
        self._faults.count(self._request, fault)
        return fault
