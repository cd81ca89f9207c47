"""The embedded default: this machine as a site, through an SSH server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from traitlets import Float, Int, List, Unicode, default

from .gate import Flavor, GateError, GateUnavailable, Node, NodeHealth, SSHEndpoint, StaticGate
from .local_process import ENVIRONMENT, Attachment, LocalProcess
from .local_server import Settings

NODE_NAME = "localhost"

RESTART_DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each new try to start the server again; the last one repeats."""

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def machine_memory(
    meminfo: Path = Path("/proc/meminfo"), limits: Sequence[Path] = _CGROUP_LIMITS
) -> int:
    """Memory of this machine in MiB, or its control group's limit if that is less."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = int(line.split()[1]) // 1024
            break
    else:
        raise ValueError(f"{meminfo} does not name MemTotal")
    for path in limits:
        try:
            memory = min(memory, int(path.read_text()) // 2**20)
        except (OSError, ValueError):
            continue  # no such control group, or "max"
    return max(memory, 1)


class LocalGate(StaticGate):
    """Runs jobs on this machine, under the core's own account.

    The gate keeps a small SSH server on 127.0.0.1 that lets in certificates of the core's SSH
    authority and nobody else, and reaches it like any other node. The server and the jobs do not
    belong to the core's process: they outlive a crash or an upgrade of the core and are found
    again. Every login gets a home folder of its own, but all run as the same account as the core:
    each reaches the files of the others, and the core's keys and its socket. So it is for one
    person, or for people who trust each other with all of that; the log says so when a second
    login comes. Where users must be kept apart, use nodes with accounts of their own.
    """

    cpus = Float(
        min=0.01,
        help="""
        Cores to share among jobs. Default: those this process may run on.
        """,
    ).tag(config=True)

    memory = Int(
        min=1,
        help="""
        Memory to share among jobs, in MiB. Default: this machine's, or its control group's limit.
        """,
    ).tag(config=True)

    gpus = Int(
        min=0,
        help="""
        GPU devices to share among jobs. Default: the number of /dev/nvidia<N> devices.
        """,
    ).tag(config=True)

    gpu_type = Unicode(
        help="""
        Model of the GPUs, as users see it.
        """,
    ).tag(config=True)

    flavor = Unicode(
        "local",
        help="""
        Name of the flavor that this machine is offered as.
        """,
    ).tag(config=True)

    homes_dir = Unicode(
        help="""
        Folder that holds a home folder for each login. Default: ``homes`` in the gate's own
        folder below $SKYPORT_HOME.
        """,
    ).tag(config=True)

    idle_exit = Float(
        60.0,
        min=0.1,
        help="""
        Seconds after which the SSH server ends by itself once the core is gone, nobody is
        connected and no job lives.
        """,
    ).tag(config=True)

    env_keep = List(
        Unicode(),
        default_value=list(ENVIRONMENT),
        help="""
        Environment variables of the core that jobs get, as names or patterns. Nothing else of
        the core's environment reaches them.
        """,
    ).tag(config=True)

    health_interval = Float(
        30.0,
        min=0.1,
        help="""
        Seconds between two looks at whether the SSH server still answers. Its end is seen at
        once and needs no look.
        """,
    ).tag(config=True)

    @default("cpus")
    def _cpus_default(self) -> float:
        return float(len(os.sched_getaffinity(0)))

    @default("memory")
    def _memory_default(self) -> int:
        return machine_memory()

    @default("gpus")
    def _gpus_default(self) -> int:
        return sum(1 for device in Path("/dev").glob("nvidia[0-9]*"))

    @default("homes_dir")
    def _homes_dir_default(self) -> str:
        return str(self.context.home / "homes")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._attachment: Attachment | None = None
        self._endpoint: SSHEndpoint | None = None
        self._watch: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._reason = ""
        self._warned = False

    async def start(self) -> None:
        """Make sure that the SSH server runs, and keep watch over it.

        Raises GateUnavailable if it cannot be started.
        """
        async with self._changing:
            if self._watch is None:
                attachment = await self._attach()
                self._watch = asyncio.ensure_future(self._keep_running(attachment))

    async def close(self, *, idle: bool) -> None:
        """Let go of the SSH server; with ``idle`` also stop it, and return once it is gone."""
        async with self._changing:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.wait([self._watch])
                self._watch = None
            await self._let_go()
            if idle:
                await self._process().stop()

    async def flavors(self) -> list[Flavor]:
        """This machine, once."""
        return [
            Flavor(
                name=self.flavor,
                cpus=self.cpus,
                memory=self.memory,
                gpus=self.gpus,
                gpu_type=self.gpu_type,
                capacity=1,
                description="This machine",
            )
        ]

    async def nodes(self) -> list[Node]:
        """This machine with its present health. Raises GateUnavailable before :meth:`start`."""
        if self._endpoint is None:
            raise GateUnavailable(f"Site {self.name!r} has not been started.")
        if not self._warned:
            self._warn_of_several_users()
        return [
            Node(
                name=NODE_NAME,
                endpoint=self._endpoint,
                flavor=self.flavor,
                cpus=self.cpus,
                memory=self.memory,
                gpus=self.gpus,
                gpu_type=self.gpu_type,
                health=NodeHealth.DOWN if self._reason else NodeHealth.UP,
                reason=self._reason,
            )
        ]

    def _warn_of_several_users(self) -> None:
        """Say in the log that they are not kept apart, once there are several."""
        with contextlib.suppress(OSError):
            logins = len(list(Path(self.homes_dir).expanduser().iterdir()))
            if logins > 1:
                self._warned = True
                self.log.warning(
                    "%d logins use site %s, and all run as the account of the core: each reaches "
                    "the files of the others and everything of the core. Use nodes with accounts "
                    "of their own (OnPremGate) for users who do not trust each other.",
                    logins,
                    self.name,
                )

    def _process(self) -> LocalProcess:
        home = self.context.home
        settings = Settings(
            home=home.absolute(),
            homes_dir=Path(self.homes_dir).expanduser().absolute(),
            user_ca=self.context.user_ca.strip(),
            idle_exit=self.idle_exit,
        )
        return LocalProcess(settings, self.env_keep)

    async def _attach(self) -> Attachment:
        self._attachment = attachment = await self._process().attach()
        hello = attachment.hello
        self._endpoint = SSHEndpoint("127.0.0.1", hello.port, host_keys=(hello.host_key,))
        self._reason = ""
        self.log.info("SSH server of this machine: 127.0.0.1:%d, pid %d", hello.port, hello.pid)
        return attachment

    async def _let_go(self) -> None:
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            await attachment.close()

    async def _keep_running(self, attachment: Attachment) -> None:
        """Wait for the server's end and start it again, for as long as the gate is open."""
        while True:
            self._reason = f"its SSH server {await attachment.lost(self.health_interval)}"
            self.log.warning("Node %s: %s; starting it again", NODE_NAME, self._reason)
            await self._let_go()
            attachment = await self._attach_again()

    async def _attach_again(self) -> Attachment:
        delays = chain(RESTART_DELAYS, repeat(RESTART_DELAYS[-1]))
        while True:
            await asyncio.sleep(next(delays))
            try:
                return await self._attach()
            except GateError as error:
                self._reason = error.message
                self.log.error("Node %s: %s %s", NODE_NAME, error.message, error.hint)
            except Exception:
                self._reason = "its SSH server could not be started"
                self.log.exception("Node %s: %s", NODE_NAME, self._reason)
