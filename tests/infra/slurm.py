"""A real Slurm on loopback: munged, slurmctld and some slurmd, in a folder of their own.

Needs root and Debian's packages ``slurm-wlm`` and ``munge``; nothing of the system's own Slurm is
touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.infra.ports import free_ports
from tests.infra.process import ServerProcess
from tests.infra.run import short_folder
from tests.infra.wait import eventually

_CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket={home}/socket/munge
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/state/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/state/slurmctld.log
SlurmdLogFile={home}/slurmd-%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,default_queue_depth=1000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MaxJobCount=100000
NodeName=DEFAULT CPUs={cpus} RealMemory={memory} State=UNKNOWN
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=100 State=UP
"""


class Slurm:
    """A cluster; use as an async context manager.

    Parameters
    ----------
    nodes, cpus, memory
        How many nodes, and what each has (cores, MiB); need not be true.
    """

    def __init__(self, nodes: int = 1, *, cpus: int = 4, memory: int = 4000) -> None:
        self._stack = contextlib.ExitStack()
        self.home = self._stack.enter_context(short_folder("slurm"))
        self.names = [f"c{number}" for number in range(1, nodes + 1)]
        self._ports = free_ports(nodes + 1)
        host = socket.gethostname().partition(".")[0]
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            for name, port in zip(self.names, self._ports[1:], strict=True)
        ]
        config = _CONFIG.format(
            host=host,
            ports=self._ports,
            home=self.home,
            cpus=cpus,
            memory=memory,
            nodes="\n".join(lines),
        )
        (self.home / "slurm.conf").write_text(config)
        self._processes: list[ServerProcess] = []

    @property
    def env(self) -> Mapping[str, str]:
        """What a client of this cluster needs in its environment."""
        return {"SLURM_CONF": str(self.home / "slurm.conf")}

    async def __aenter__(self) -> Slurm:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    async def _start(self) -> None:
        self.home.chmod(0o755)
        await self._start_munge()
        self._folder("state", "slurm")
        self._run("slurmctld", ["slurmctld", "-D", "-c"], user="slurm")
        await eventually(self._controlled, "slurmctld answers", timeout=20)
        for name in self.names:
            (self.home / f"spool-{name}").mkdir()
            self._run(f"slurmd-{name}", ["slurmd", "-D", "-N", name])
        await eventually(self._idle, "all nodes are idle", timeout=20)

    async def _start_munge(self) -> None:
        private = self._folder("munge", "munge", 0o700)
        self._folder("socket", "munge")
        key = private / "key"
        key.write_bytes(secrets.token_bytes(1024))
        os.chown(key, *_ids("munge"))
        key.chmod(0o400)
        words = ["munged", "--foreground", f"--key-file={key}"]
        words += [f"--socket={self.home}/socket/munge", f"--pid-file={private}/pid"]
        words += [f"--log-file={private}/log", f"--seed-file={private}/seed"]
        self._run("munged", words, user="munge")
        await eventually((self.home / "socket" / "munge").exists, "munged listens")

    def _folder(self, name: str, owner: str, mode: int = 0o755) -> Path:
        folder = self.home / name
        folder.mkdir()
        os.chown(folder, *_ids(owner))
        folder.chmod(mode)
        return folder

    def _run(self, name: str, argv: list[str], user: str | None = None) -> None:
        prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        env = {**self.env, "PATH": path}
        process = ServerProcess(name, argv, self.home, prefix=prefix, env=env)
        process.spawn()
        self._processes.append(process)

    async def call(self, *words: str, script: str = "") -> str:
        """Run a command of Slurm's; what it printed. RuntimeError if it fails."""
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.env},
            cwd="/tmp",
        )
        out, err = await process.communicate(script.encode())
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)}: {err.decode()}")
        return out.decode()

    async def _controlled(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return "is UP" in await self.call("scontrol", "ping")
        return False

    async def _idle(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return (await self.call("sinfo", "-h", "-t", "idle", "-o", "%D")).strip() == str(
                len(self.names)
            )
        return False

    async def close(self) -> None:
        """Stop everything and remove the folder. Idempotent."""
        processes, self._processes = self._processes, []
        try:
            for process in reversed(processes):
                await process.end()
                process.detach()
        finally:
            self._stack.close()


def _ids(user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid
