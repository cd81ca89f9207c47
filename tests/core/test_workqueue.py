"""Each guarantee of the work queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from skyport_core.workqueue import QueueClosed, WorkQueue, serve


@pytest.fixture
async def queue() -> AsyncIterator[WorkQueue[str]]:
    """A queue with short delays and no jitter."""
    queue: WorkQueue[str] = WorkQueue(base_delay=0.01, max_delay=0.05, jitter=lambda: 0.0)
    yield queue
    queue.close()


async def taken(queue: WorkQueue[str]) -> str:
    """The next key, given back at once."""
    key = await asyncio.wait_for(queue.get(), 5)
    queue.done(key)
    return key


async def is_idle(queue: WorkQueue[str]) -> bool:
    """Whether a get would wait."""
    getting = asyncio.ensure_future(queue.get())
    for _ in range(3):
        await asyncio.sleep(0)
    idle = not getting.done()
    getting.cancel()
    await asyncio.gather(getting, return_exceptions=True)
    return idle


async def test_keys_come_out_in_order(queue: WorkQueue[str]) -> None:
    for key in "abc":
        queue.add(key)
    assert [await taken(queue) for _ in range(3)] == ["a", "b", "c"]


async def test_a_queued_key_is_not_queued_twice(queue: WorkQueue[str]) -> None:
    for key in "aba":
        queue.add(key)
    assert len(queue) == 2
    assert [await taken(queue), await taken(queue)] == ["a", "b"]
    assert await is_idle(queue)


async def test_get_waits_for_a_key(queue: WorkQueue[str]) -> None:
    getting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(getting, 5) == "a"


async def test_a_held_key_is_given_to_nobody_else(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert await taken(queue) == "b"
    assert await is_idle(queue)


async def test_a_key_added_while_held_comes_out_once_more(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    queue.done("a")
    assert await taken(queue) == "a"
    assert await is_idle(queue)


async def test_a_key_that_was_not_added_again_stays_away(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await taken(queue)
    assert await is_idle(queue)


async def test_giving_back_what_nobody_holds_is_an_error(queue: WorkQueue[str]) -> None:
    with pytest.raises(ValueError, match="'a' is not held"):
        queue.done("a")


async def test_a_cancelled_get_takes_nothing(queue: WorkQueue[str]) -> None:
    getting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    getting.cancel()
    queue.add("a")
    assert await taken(queue) == "a"


async def test_many_workers_share_the_keys(queue: WorkQueue[str]) -> None:
    keys = [str(number) for number in range(50)]
    seen: list[str] = []
    all_seen = asyncio.Event()

    async def work() -> None:
        while True:
            key = await queue.get()
            seen.append(key)
            if len(seen) == len(keys):
                all_seen.set()
            await asyncio.sleep(0)
            queue.done(key)

    workers = [asyncio.ensure_future(work()) for _ in range(4)]
    for key in keys:
        queue.add(key)
    await asyncio.wait_for(all_seen.wait(), 5)
    queue.close()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert seen == keys
    assert all(isinstance(result, QueueClosed) for result in results)


async def test_a_delayed_key_comes_after_its_delay(queue: WorkQueue[str]) -> None:
    start = time.monotonic()
    queue.add_after("a", 0.05)
    assert await is_idle(queue)
    assert await taken(queue) == "a"
    assert time.monotonic() - start >= 0.05


async def test_no_delay_is_due_at_once(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0)
    assert len(queue) == 1


async def test_of_two_delays_the_one_that_ends_first_counts(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 600)
    queue.add_after("a", 0.01)
    queue.add_after("a", 600)
    assert await taken(queue) == "a"
    assert await is_idle(queue)


async def test_an_add_does_not_cancel_a_delay(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0.01)
    queue.add("a")
    assert [await taken(queue), await taken(queue)] == ["a", "a"]


async def test_a_delay_that_ends_while_held_brings_the_key_again(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add_after("a", 0.001)
    queue.add_after("b", 0.01)
    assert await taken(queue) == "b"
    queue.done("a")
    assert await taken(queue) == "a"


async def test_each_retry_waits_longer_up_to_the_maximum(queue: WorkQueue[str]) -> None:
    assert [queue.retry("a") for _ in range(4)] == [0.01, 0.02, 0.04, 0.05]
    assert queue.failures("a") == 4


async def test_very_many_retries_keep_the_maximum(queue: WorkQueue[str]) -> None:
    assert {queue.retry("a") for _ in range(3000)} == {0.01, 0.02, 0.04, 0.05}


async def test_each_key_has_its_own_failures(queue: WorkQueue[str]) -> None:
    queue.retry("a")
    assert queue.retry("b") == 0.01
    assert queue.failures("c") == 0


async def test_a_forgotten_key_starts_over(queue: WorkQueue[str]) -> None:
    queue.retry("a")
    queue.retry("a")
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.retry("a") == 0.01


async def test_a_retried_key_comes_again(queue: WorkQueue[str]) -> None:
    queue.add("a")
    key = await queue.get()
    queue.retry(key)
    queue.done(key)
    assert await is_idle(queue)
    assert await taken(queue) == "a"


async def test_jitter_shortens_a_delay_by_up_to_half() -> None:
    numbers = iter([0.0, 0.5, 0.999])
    queue: WorkQueue[str] = WorkQueue(base_delay=1, max_delay=1, jitter=lambda: next(numbers))
    delays = [queue.retry("a") for _ in range(3)]
    queue.close()
    assert delays == pytest.approx([1.0, 0.75, 0.5], abs=0.001)


async def test_close_ends_every_get(queue: WorkQueue[str]) -> None:
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert all(isinstance(result, QueueClosed) for result in results)
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_a_closed_queue_drops_what_was_due(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.close()
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_a_closed_queue_takes_nothing(queue: WorkQueue[str]) -> None:
    queue.close()
    queue.close()
    queue.add("a")
    queue.add_after("b", 0.001)
    queue.retry("c")
    assert len(queue) == 0


async def test_a_key_held_at_the_close_can_be_given_back(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.close()
    queue.done("a")
    assert len(queue) == 0


class Stale(Exception):
    """The thing changed meanwhile."""


def served(queue: WorkQueue[str], work: Callable[[str], Awaitable[None]]) -> asyncio.Task[None]:
    """A server of the queue in the background."""
    log = logging.getLogger("test")
    return asyncio.create_task(serve(queue, work, what="thing", stale=Stale, log=log))


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_serve_works_on_all_keys_side_by_side(queue: WorkQueue[str]) -> None:
    both = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def work(key: str) -> None:
        both[key].set()
        await asyncio.gather(*(event.wait() for event in both.values()))

    task = served(queue, work)
    queue.add("a")
    queue.add("b")
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in both.values())), 5)
    await ended(task)


async def test_serve_looks_again_at_what_was_stale_and_retries_what_failed(
    queue: WorkQueue[str],
) -> None:
    troubles: list[Exception] = [Stale(), ValueError("of the test")]
    done = asyncio.Event()

    async def work(key: str) -> None:
        if troubles:
            raise troubles.pop(0)
        done.set()

    task = served(queue, work)
    queue.add("a")
    await asyncio.wait_for(done.wait(), 5)
    assert queue.failures("a") == 1
    await ended(task)


async def test_serve_takes_its_work_with_it_when_it_is_cancelled(queue: WorkQueue[str]) -> None:
    begun, broken_off = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()

    task = served(queue, work)
    queue.add("a")
    await asyncio.wait_for(begun.wait(), 5)
    await ended(task)
    assert broken_off.is_set()
