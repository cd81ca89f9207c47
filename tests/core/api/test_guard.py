"""The guard looks at each credential once a round, and closes nothing on a guess."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from skyport_core.api.guard import Guard
from skyport_core.caller import Caller
from tests.infra.wait import eventually


@dataclass(eq=False)
class FakeStream:
    closed: bool = False

    def close(self) -> None:
        self.closed = True


class FakeConnection(HTTP1Connection):
    def __init__(self, stream: FakeStream) -> None:
        self.stream = stream  # type: ignore[assignment]


@dataclass
class FakeCredential:
    key: str
    answers: list[bool | Exception]
    looks: int = 0
    hung: asyncio.Event = field(default_factory=asyncio.Event)

    async def valid(self) -> bool:
        self.looks += 1
        if not self.answers:
            await self.hung.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Watch:
    """A request that is being answered."""

    def __init__(self, guard: Guard, credential: FakeCredential, name: str = "alice") -> None:
        self.stream = FakeStream()
        self.task = asyncio.create_task(asyncio.sleep(60))
        start = RequestStartLine("GET", "/", "HTTP/1.1")
        request = HTTPServerRequest(
            connection=FakeConnection(self.stream),
            start_line=start,
            headers=HTTPHeaders({"Host": "core"}),
        )
        guard.watch(self.task, request, Caller(name, credential=credential))

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


async def test_all_connections_of_a_credential_are_closed_after_one_look() -> None:
    guard = Guard(interval=0.01)
    lost, kept = FakeCredential("lost", [True, False]), FakeCredential("kept", [True] * 1000)
    watched = [Watch(guard, lost), Watch(guard, lost), Watch(guard, kept)]
    await eventually(lambda: watched[0].stream.closed, "closing", interval=0.01)
    assert lost.looks == 2
    assert [one.stream.closed for one in watched] == [True, True, False]
    await asyncio.gather(*(one.end() for one in watched))
    await guard.close()


async def test_a_look_that_hangs_or_fails_holds_up_and_closes_nobody() -> None:
    guard = Guard(interval=0.01)
    hung, failed = FakeCredential("hung", []), FakeCredential("failed", [OSError("away"), False])
    watched = [Watch(guard, hung), Watch(guard, failed)]
    await eventually(lambda: watched[1].stream.closed, "closing", interval=0.01)
    assert failed.looks == 2
    assert (hung.looks, watched[0].stream.closed) == (1, False)
    await asyncio.gather(*(one.end() for one in watched))
    await guard.close()


async def test_a_credential_is_judged_for_each_caller_that_it_stood_for() -> None:
    guard = Guard(interval=0.01)
    before, after = FakeCredential("token", [False]), FakeCredential("token", [True] * 1000)
    old, new = Watch(guard, before, "alice"), Watch(guard, after, "erin")
    await eventually(lambda: old.stream.closed, "closing", interval=0.01)
    assert not new.stream.closed
    await asyncio.gather(old.end(), new.end())
    await guard.close()


async def test_what_has_been_answered_is_not_watched_any_more() -> None:
    guard = Guard(interval=0.01)
    credential = FakeCredential("lost", [False] * 1000)
    watched = Watch(guard, credential)
    await watched.end()
    other = Watch(guard, FakeCredential("other", [False]))
    await eventually(lambda: other.stream.closed, "closing", interval=0.01)
    assert (credential.looks, watched.stream.closed) == (0, False)
    await other.end()
    await guard.close()


async def test_who_cannot_be_judged_for_long_is_not_trusted_any_more() -> None:
    guard = Guard(interval=0.01, grace=0.1)
    errors: list[bool | Exception] = [OSError("away")] * 1000
    watched = Watch(guard, FakeCredential("unknown", errors))
    await eventually(lambda: watched.stream.closed, "closing", interval=0.01)
    await watched.end()
    await guard.close()
