"""Hearing of jobs that ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import psutil

from skyport_core.ssh.connection import NodeConnection
from skyport_core.ssh.runner import Runner, RunSpec
from skyport_core.ssh.watch import Notice
from tests.infra.sshd import SSHD

from .waiting import alive, until, until_state

WAIT = 20


def helpers(node: SSHD) -> list[psutil.Process]:
    """What the watching channel runs on the node."""
    children = psutil.Process(node.pid).children(recursive=True)
    return [child for child in children if child.name() in ("sh", "cat")]


async def subscribed(
    connection: NodeConnection, runner: Runner
) -> tuple[asyncio.Event, Callable[[], None]]:
    """A fresh event for the job's news, once the watch is known to work."""
    heard = asyncio.Event()
    unsubscribe = connection.watcher.subscribe(runner.job_id, heard.set)
    await asyncio.wait_for(heard.wait(), WAIT)
    heard.clear()
    return heard, unsubscribe


async def test_the_end_of_a_job_is_heard(
    connection: NodeConnection, new_runner: Callable[[], Runner]
) -> None:
    ends, stays = new_runner(), new_runner()
    await stays.stage(RunSpec(("sleep", "3600")))
    await ends.stage(RunSpec(("true",)))
    heard_end, unsubscribe_end = await subscribed(connection, ends)
    heard_stay = asyncio.Event()
    unsubscribe_stay = connection.watcher.subscribe(stays.job_id, heard_stay.set)
    await stays.start()
    await ends.start()
    await asyncio.wait_for(heard_end.wait(), WAIT)
    assert (await ends.status()).state == "exited"
    assert not heard_stay.is_set()
    unsubscribe_end()
    unsubscribe_stay()


async def test_every_job_is_looked_at_after_a_reconnect(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    heard, unsubscribe = await subscribed(connection, runner)
    node.kill()
    await until(lambda: connection.last_error is not None, "the loss is noticed")
    node.start()
    await asyncio.wait_for(heard.wait(), WAIT)
    unsubscribe()


async def test_a_job_that_ends_after_a_reconnect_is_heard(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    await runner.stage(RunSpec(("true",)))
    heard, unsubscribe = await subscribed(connection, runner)
    node.cut()
    await asyncio.wait_for(heard.wait(), WAIT)
    heard.clear()
    await runner.start()
    await asyncio.wait_for(heard.wait(), WAIT)
    unsubscribe()


async def test_the_helper_dies_with_its_connection(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    _, unsubscribe = await subscribed(connection, runner)
    await until(lambda: len(helpers(node)) == 2, "the helper reads")
    before = [process.pid for process in helpers(node)]
    node.cut()
    await until(lambda: not any(alive(pid) for pid in before), "the helper is gone")
    unsubscribe()


async def test_the_helper_ends_with_the_last_subscriber(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    _, unsubscribe = await subscribed(connection, runner)
    second = connection.watcher.subscribe(runner.job_id, lambda: None)
    unsubscribe()
    assert helpers(node)
    second()
    await until(lambda: helpers(node) == [], "the helper is gone")
    await until(
        lambda: not list((node.home / ".skyport" / "watch").iterdir()), "its FIFO is removed"
    )


async def test_one_helper_serves_all_jobs_of_a_connection(
    connection: NodeConnection, node: SSHD, new_runner: Callable[[], Runner]
) -> None:
    first, second = new_runner(), new_runner()
    await asyncio.gather(*(runner.stage(RunSpec(("true",))) for runner in (first, second)))
    heard_first, unsubscribe_first = await subscribed(connection, first)
    heard_second = asyncio.Event()
    unsubscribe_second = connection.watcher.subscribe(second.job_id, heard_second.set)
    await asyncio.gather(first.start(), second.start())
    await asyncio.wait_for(heard_first.wait(), WAIT)
    await asyncio.wait_for(heard_second.wait(), WAIT)
    assert len(helpers(node)) == 2
    unsubscribe_first()
    unsubscribe_second()


async def test_a_job_ends_though_a_dead_helper_left_its_fifo(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    _, unsubscribe = await subscribed(connection, runner)
    for process in helpers(node):
        process.kill()
    await runner.stage(RunSpec(("true",)))
    await runner.start()

    await until_state(runner, "exited")
    unsubscribe()


def write_notice(node: SSHD, line: str) -> None:
    """What a site's program on the node does."""
    for fifo in (node.home / ".skyport" / "watch").iterdir():
        descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        os.write(descriptor, line.encode())
        os.close(descriptor)


async def test_a_notice_that_the_node_goes_is_heard(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    heard, unsubscribe = await subscribed(connection, runner)
    unsubscribe_notice = connection.watcher.on_notice(notices.put_nowait)
    write_notice(node, "notice preempt soon\nnotice preempt 1800000000\n")
    assert await asyncio.wait_for(notices.get(), WAIT) == Notice(1800000000.0)
    assert notices.empty() and not heard.is_set()
    unsubscribe_notice()
    unsubscribe()


async def test_a_notice_that_came_while_nobody_listened_is_heard_too(
    connection: NodeConnection, node: SSHD, runner: Runner
) -> None:
    folder = node.home / ".skyport"
    folder.mkdir(exist_ok=True)
    (folder / "notice").write_text("notice preempt 1800000000\n")
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    unsubscribe_notice = connection.watcher.on_notice(notices.put_nowait)
    _, unsubscribe = await subscribed(connection, runner)
    assert (await asyncio.wait_for(notices.get(), WAIT)).end == 1800000000.0
    unsubscribe_notice()
    unsubscribe()
