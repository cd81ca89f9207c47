"""Running one job on a node so that it needs neither the core nor the connection to go on."""

from __future__ import annotations

import asyncio
import math
import re
import shlex
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import asyncssh

from . import files, logs, outputs
from .channels import answers
from .connection import NodeConnection
from .errors import CommandFailed, StagingFailed, StagingRefused
from .leftovers import Leftovers, leftovers
from .program import CARRIED, COMMAND, CONTAINER, LAUNCH, PROGRAM
from .runspec import RunSpec, below_home, describe

__all__ = ["RunSpec", "Runner", "RunnerStatus"]

TIMEOUT = 30.0
"""Seconds that an operation on the node may take, connecting included."""

LONGEST = 10 * 366 * 86400
"""Seconds that a job is believed to have run already."""

TAIL_BYTES = 64 * 2**10
OUTPUT_LIMIT = 2**30
NO_ROOM = re.compile("No space left on device|Disk quota exceeded|Disc quota exceeded")
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
ANSWER = re.compile(r"([a-z]{1,16}) (\d{1,9}) (-|\d{1,3}) ([01]) (-|-?\d{1,12})(?: (.*))?")
WORDS = {"walltime": "change the walltime of", "where": "find", "status": "look after"}
"""What those operations are called to people whose names say too little."""


@dataclass(frozen=True)
class RunnerStatus:
    """How a job stands on its node.

    ``state`` is "absent", "staged", "running", "exited" or "lost" (started, but neither its
    supervisor nor an exit status is there: the node was rebooted or the supervisor killed).
    ``pid`` leads the job's process group. ``exit_code`` is 128 + signal for a job that died of one.
    ``trouble`` tells why a job could not be started: a word, and what it is about. ``age`` is how
    many seconds ago it started, by the node's clock; None: it did not, or nobody knows.
    """

    state: str
    pid: int | None = None
    exit_code: int | None = None
    timed_out: bool = False
    trouble: tuple[str, str] | None = None
    age: int | None = field(default=None, compare=False)


class Runner:
    """One job's life on one node.

    Every method may be repeated, by another core too: what a step did is on the node, and a job is
    never started twice.

    Parameters
    ----------
    connection : NodeConnection
        Where the job runs.
    job_id : str
        Names the job's folder, ``~/.skyport/jobs/JOB_ID``.
    """

    def __init__(self, connection: NodeConnection, job_id: str) -> None:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"{job_id!r} is not a job id")
        self.connection = connection
        self.job_id = job_id
        self._dir: str | None = None

    async def job_dir(self) -> str:
        """Absolute path of the job's folder on the node; it is made if missing."""
        if self._dir is None:
            await self._prepare()
        assert self._dir is not None  # noqa: S101
        return self._dir

    async def address_free(self, host: str, port: int) -> bool:
        """Whether nothing answers at ``host:port`` as seen from the node.

        Raises
        ------
        CommandFailed
            The node did not tell in time.
        ForwardRefused
            The node's sshd does not forward ports.
        """
        return not await answers(self.connection, host, port, TIMEOUT)

    async def stage(self, spec: RunSpec) -> None:
        """Bring the runner program, the job's description and its files to the node.

        Does nothing once the job was started or stopped.

        Raises
        ------
        DiskFull
            There is no room for it in the login's home.
        StagingFailed
            A file's path is not allowed, or the transfer failed.
        """
        for path, _, _ in spec.files:
            _check_path(path)
        status = await self._prepare()
        if status.state not in ("absent", "staged"):
            return
        folder = await self.job_dir()
        own = f"{folder}/.runner"
        programs = {"runner": PROGRAM, "launch": LAUNCH}
        if spec.container is not None:
            programs["container"] = CONTAINER
        uploads = [files.Upload(f"{folder}/{path}", mode, data) for path, mode, data in spec.files]
        uploads += [
            files.Upload(f"{own}/{name}.sh", 0o600, text.encode())
            for name, text in programs.items()
        ]
        uploads.append(files.Upload(f"{own}/job.sh.new", 0o600, describe(spec, self.job_id, own)))
        parents = {str(PurePosixPath(path).parent) for path, _, _ in spec.files} - {"."}
        async with self._sftp(sum(len(upload.data) for upload in uploads)) as sftp:
            for parent in sorted(parents):
                await files.soon(sftp.makedirs(f"{folder}/{parent}", exist_ok=True))
            await files.upload(sftp, uploads)
            await files.soon(sftp.posix_rename(f"{own}/job.sh.new", f"{own}/job.sh"))

    async def start(self) -> RunnerStatus:
        """Start the staged job unless it was started or stopped before.

        Raises
        ------
        CommandFailed
            The job is not staged, or its supervisor could not start.
        DiskFull
            There is no room in the login's home.
        """
        said, status = await self._operate("start")
        if status.state == "absent":
            raise CommandFailed(
                f"Job {self.job_id} is not on {self.connection} (any more).", reason="not_staged"
            )
        if status.state == "staged":
            await self._check_room(4096)
            raise CommandFailed(
                f"Job {self.job_id} did not start on {self.connection}: {said or 'no reason given'}"
            )
        return status

    async def set_walltime(self, seconds: int, *, age: float = 0) -> RunnerStatus:
        """Change how long the job may run, counted from its start; 0: without a limit.

        What the node knows survives this core. Nothing happens to a job that is not there or has
        ended. A job that an older core started is taken over from that one's timer; so is one
        whose timer was killed.

        Parameters
        ----------
        seconds : int
            The new walltime.
        age : float
            How many seconds ago the job started, for a node that does not know it.

        Raises
        ------
        CommandFailed
            Nothing on the node keeps to the new walltime.
        DiskFull
            There is no room in the login's home.
        """
        words = (str(max(0, seconds)), str(max(0, int(age))))
        _, status = await self._operate("walltime", *words, program=CARRIED)
        return status

    async def status(self) -> RunnerStatus:
        """How the job stands."""
        _, status = await self._operate("status")
        return status

    async def stop(self, grace: float = 5) -> RunnerStatus:
        """End the job: TERM to all its processes, KILL after ``grace`` seconds.

        Returns once none of them lives. A job that was not started never will be.

        Raises
        ------
        CommandFailed
            Some process cannot be killed.
        """
        seconds = math.ceil(grace)
        _, status = await self._operate("stop", str(seconds), timeout=TIMEOUT + seconds + 30)
        return status

    async def log(
        self, stream: str = "stdout", *, offset: int = 0, limit: int | None = None
    ) -> bytes:
        """What the job wrote to ``stream`` from byte ``offset`` on, at most ``limit`` bytes."""
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"{stream!r} is not 'stdout' or 'stderr'")
        async with self._sftp() as sftp:
            return await files.read(sftp, await self._path(f"{stream}.log"), offset, limit)

    async def fetch_log(self, stream: str, target: Path, limit: int) -> int:
        """Bring what the job wrote to ``stream`` home, not much more than ``limit`` bytes of it.

        Returns how many bytes it wrote; of a longer log, the middle is left out.
        """
        async with self._sftp() as sftp:
            return await logs.fetch_log(sftp, await self._path(f"{stream}.log"), target, limit)

    async def tail(self, lines: int = 20) -> str:
        """The last lines of ``stderr.log``, or of ``stdout.log`` if that one is empty."""
        async with self._sftp() as sftp:
            path = await self._path("stderr.log")
            size = await files.size(sftp, path)
            if not size:
                path = await self._path("stdout.log")
                size = await files.size(sftp, path)
            data = await files.read(sftp, path, max(0, size - TAIL_BYTES), TAIL_BYTES)
        return "\n".join(data.decode(errors="replace").splitlines()[-lines:])

    async def collect(
        self,
        patterns: Sequence[str],
        destination: Path,
        *,
        workdir: str = "",
        limit: int = OUTPUT_LIMIT,
        most: int = outputs.MAX_ENTRIES,
    ) -> outputs.Brought:
        """Bring the files home that match ``patterns`` below the working directory.

        Parameters
        ----------
        patterns : sequence of str
            Relative shell patterns; ``**`` matches any depth, a folder is brought as a whole.
        destination : Path
            Folder at the core; made if missing.
        workdir : str
            The job's working directory, as in its :class:`RunSpec`.
        limit : int
            Bytes that all files together may have.
        most : int
            Files and folders that may be where they are looked for.
        """
        folder = await self.path_of(workdir)
        async with self._sftp() as sftp:
            if not await files.soon(sftp.isdir(folder)):
                return outputs.Brought([], tuple(patterns))
            return await outputs.download(sftp, folder, patterns, destination, limit, most=most)

    async def others(self, known: Collection[str], *, workdir: str = "") -> Leftovers:
        """The files below the working directory but those whose relative paths are ``known``."""
        folder = await self.path_of(workdir)
        async with self._sftp() as sftp:
            return await leftovers(sftp, folder, known)

    async def restore(self, source: Path, *, workdir: str = "") -> int:
        """Bring what :meth:`collect` saved on another node into the working directory.

        Parameters
        ----------
        source : Path
            Folder at the core.
        workdir : str
            The job's working directory, as in its :class:`RunSpec`; made if missing.

        Returns
        -------
        int
            How many files were brought.
        """
        folder = await self.path_of(workdir)
        size = await asyncio.to_thread(files.total_size, source)
        async with self._sftp(size) as sftp:
            return await files.restore(sftp, source, folder)

    async def path_of(self, workdir: str) -> str:
        """A working directory's absolute path on the node."""
        home = (await self.job_dir()).removesuffix(f"/.skyport/jobs/{self.job_id}")
        return str(PurePosixPath(home, below_home(workdir)))

    async def remove(self) -> None:
        """Delete the job's folder on the node; afterwards it is certain to be gone.

        Raises
        ------
        CommandFailed
            The job still runs, or something in its folder cannot be deleted.
        """
        await self._operate("remove")

    async def _prepare(self) -> RunnerStatus:
        said, status = await self._operate("prepare")
        self._dir = said
        return status

    async def _path(self, name: str) -> str:
        if self._dir is None:
            said, _ = await self._operate("where")
            self._dir = said
        return f"{self._dir}/{name}"

    async def _operate(
        self, operation: str, *arguments: str, timeout: float = TIMEOUT, program: str = PROGRAM
    ) -> tuple[str, RunnerStatus]:
        """Run one operation of the program; its answer's folder or complaint, and the status."""
        line = COMMAND.format(shlex.join((operation, self.job_id, *arguments)))
        done = await self.connection.run(line, input=program.encode(), timeout=timeout)
        complaint = done.stderr.decode(errors="replace").strip()
        answers = re.findall(r"^skyport-runner (.*)$", done.stdout.decode(errors="replace"), re.M)
        if NO_ROOM.search(complaint):
            raise files.disk_full(str(self.connection))
        if not answers or done.exit_status:
            # What dash says of any failed write, a full disk included.
            if "I/O error" in complaint:
                await self._check_room(4096)
            raise self._failed(operation, complaint or f"exit status {done.exit_status}")
        folder = next((text[4:] for text in answers if text.startswith("dir ")), "")
        status = _parse(answers[-1])
        if status is None:
            raise self._failed(operation, "its answer was not that of the runner")
        return folder or complaint, status

    def _failed(self, operation: str, why: str) -> CommandFailed:
        what = f"{WORDS.get(operation, operation)} job {self.job_id} on {self.connection}"
        return CommandFailed(f"Cannot {what}: {why}")

    @asynccontextmanager
    async def _sftp(self, need: int = 4096) -> AsyncIterator[asyncssh.SFTPClient]:
        """An SFTP session whose failures are explained; ``need`` is in bytes."""
        try:
            async with self.connection.sftp() as sftp:
                with files.explained(str(self.connection)):
                    yield sftp
        except asyncssh.SFTPFailure as error:
            await self._check_room(need)
            raise StagingFailed(
                f"A file transfer with {self.connection} failed: {error.reason}."
            ) from error

    async def _check_room(self, need: int) -> None:
        """Raise DiskFull if ``need`` bytes cannot be written in the job's folder."""
        line = COMMAND.format(f"room {self.job_id} {need // 1024 + 4}")
        done = await self.connection.run(line, input=PROGRAM.encode(), timeout=TIMEOUT)
        if NO_ROOM.search(done.stderr.decode(errors="replace")):
            raise files.disk_full(str(self.connection))


def _parse(answer: str) -> RunnerStatus | None:
    """None for what no runner says: whoever has the login may have put anything in its place."""
    found = ANSWER.fullmatch(answer)
    if found is None:
        return None
    state, pid, code, timed_out, age, trouble = found.groups()
    word, _, about = (trouble or "").strip().partition(" ")
    return RunnerStatus(
        state,
        pid=int(pid) or None,
        exit_code=None if code == "-" else int(code),
        timed_out=timed_out == "1",
        trouble=(word, about) if word else None,
        age=None if age == "-" else min(max(0, int(age)), LONGEST),
    )


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise StagingRefused(f"{path!r} is not a relative path.")
    if parts[0] == ".runner" or path in ("stdout.log", "stderr.log"):
        raise StagingRefused(f"The name {path!r} is taken by the runner.")
