"""A real core as a child process, with a home of its own."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import aiohttp

from skyport_core.client import CoreClient, CoreError
from skyport_core.model import FINAL_STATES, JobState, PartitionState
from tests.infra.nodes import Fabric
from tests.infra.process import ServerProcess
from tests.infra.run import kill, own_processes, short_folder
from tests.infra.wait import eventually

FAULT = "SKYPORT_TEST_FAULT"
FAULT_MARK = "SKYPORT_TEST_FAULT_MARK"
_FINAL_JOBS = {state.value for state in FINAL_STATES}
_FINAL_PARTITIONS = {state.value for state in PartitionState if state.final}


class CoreProcess:
    """``python -m skyport_core`` with its own SKYPORT_HOME.

    Use as an async context manager: it starts the core; leaving it cancels what still runs,
    stops the core, and checks that its database holds no job or partition that has not ended.

    Parameters
    ----------
    config
        Text of the configuration file ("c.SkyPortCore.gates = …").
    fabric
        Run at the hub's side of this network; None: on this machine's.
    env
        Variables added to the environment.
    fault
        Where the core shall kill itself, once: "before:STAGING" or "after:STAGING", that is
        before or after a change into that state is committed.
    """

    def __init__(
        self,
        config: str = "",
        *,
        fabric: Fabric | None = None,
        env: Mapping[str, str] | None = None,
        fault: str | None = None,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self.home = self._stack.enter_context(short_folder("core"))
        self.home.chmod(0o700)
        self.config = self.home / "skyport_config.py"
        self.config.write_text(config)
        module = "tests.infra.faulty_core" if fault else "skyport_core"
        variables = {**(env or {}), "SKYPORT_HOME": str(self.home)}
        if fault:
            variables |= {FAULT: fault, FAULT_MARK: str(self.home / "fault-fired")}
        self.process = ServerProcess(
            "core",
            [sys.executable, "-m", module, "-f", str(self.config)],
            self.home,
            prefix=fabric.prefix if fabric else (),
            env=variables,
        )

    async def __aenter__(self) -> CoreProcess:
        try:
            await self.start()
        except BaseException:
            await self.close(check=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close(check=kind is None)

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.home / "core.sock"

    @property
    def user_ca(self) -> str:
        """Public key of its SSH authority, for nodes to trust; made before the first start."""
        from skyport_core.ssh.identity import SSHIdentity

        return SSHIdentity.load(self.home).user_ca

    def client(self) -> CoreClient:
        """A new client of it; the caller closes it."""
        return CoreClient(self.socket)

    async def start(self, timeout: float = 20.0) -> None:
        """Start it and wait until it answers."""
        self.process.spawn()
        await self.process.wait_ready(self.healthy, timeout)

    async def stop(self) -> None:
        """End it as an admin does; running jobs stay."""
        await self.process.end(signal.SIGTERM)

    async def kill9(self) -> None:
        """End it without any chance to clean up."""
        await self.process.end(signal.SIGKILL)

    async def restart(self) -> None:
        """Stop and start again."""
        await self.stop()
        await self.start()

    async def wait_fault(self, timeout: float = 30.0) -> None:
        """Wait until it killed itself at the named point."""
        status = await self.process.wait_end(timeout)
        assert status == -signal.SIGKILL, f"the core ended with {status}, not by its fault"
        assert (self.home / "fault-fired").exists()

    async def wait_hold(self, timeout: float = 30.0) -> None:
        """Wait until a job is held at the named point ("hold:STATE")."""
        await eventually((self.home / "fault-fired").exists, "job held by the core", timeout)

    def let_go(self) -> None:
        """Let held jobs go on."""
        (self.home / "fault-fired.go").touch()

    async def healthy(self) -> bool:
        """Whether it answers now."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            connector = aiohttp.UnixConnector(str(self.socket))
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://core/api/v1/health") as answer,
            ):
                return answer.status == 200
        return False

    async def cancel_all(self, timeout: float = 30.0) -> None:
        """Cancel every job that has not ended, delete kept machines, wait until all is gone."""
        client = self.client()
        try:
            for job in [job async for job in client.jobs()]:
                if not JobState(job.state).final:
                    await client.delete_job(job.id)

            async def ended() -> bool:
                for partition in await client.partitions():
                    if partition.target is PartitionState.SUSPENDED:
                        with contextlib.suppress(CoreError):  # its job has not ended yet
                            await client.delete_partition(partition.name)
                return not self.unfinished()

            await eventually(ended, "end of all jobs", timeout)
        finally:
            await client.close()

    async def close(self, *, check: bool = True) -> None:
        """Cancel all jobs, stop, and with ``check`` assert that nothing is left over."""
        try:
            if self.process.popen is not None:
                await self._finish(check)
        finally:
            if not check:
                self._end_helpers()
            self.process.detach()
            self._stack.close()

    def _end_helpers(self) -> None:
        """End what a failed test's core left running, such as a local site's SSH server."""
        for pid, line in own_processes().items():
            if str(self.home) in line:
                kill(pid)

    def unfinished(self) -> list[str]:
        """Jobs and partitions in its database that have not ended or still need cleaning up."""
        rows: list[str] = []
        for path in self.home.glob("*.sqlite"):
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                jobs = database.execute("select id, state, cleanup_pending from jobs")
                for job, state, pending in jobs:
                    if state not in _FINAL_JOBS or pending:
                        rows.append(f"job {job}: {state}{' (cleanup pending)' if pending else ''}")
                for name, state in database.execute("select name, state from partitions"):
                    if state not in _FINAL_PARTITIONS:
                        rows.append(f"partition {name}: {state}")
        return rows

    async def _finish(self, check: bool) -> None:
        try:
            if not self.process.running:
                await self.start()
            await self.cancel_all()
        except Exception:
            # A test that failed already must not be hidden by a core that can't clean up.
            if check:
                raise
        finally:
            await self.process.end(signal.SIGTERM if check else signal.SIGKILL)
        if check:
            assert not self.unfinished()
