"""Ways to the nodes of running jobs: terminals, ports, and the tunnels that stand."""

from __future__ import annotations

from ..model import Job
from ..service import Piped, ServiceError
from ..ssh.errors import NodeError
from ..ssh.pool import ConnectionPool
from ..ssh.sessions import NODE_LOOPBACK, Programs, Terminal, dial_port, enter_job
from ..wire import ShellQuery, TunnelView
from .attachment import Attachments
from .environment import workdir_of


class Reach:
    """The jobs' nodes as terminals see them, as ``api.services.ReachService`` describes it.

    Parameters
    ----------
    attachments
        The connections of the jobs.
    pool
        Where connections for terminals come from.
    allow_shell
        Whether terminals may be opened at all.
    """

    def __init__(
        self, attachments: Attachments, pool: ConnectionPool, *, allow_shell: bool
    ) -> None:
        self._attachments = attachments
        self._programs = Programs(pool)
        self._allow_shell = allow_shell

    async def shell(self, job: Job, query: ShellQuery) -> Piped:
        """A terminal, or a command, as the job's login, in its environment and its directory."""
        if not self._allow_shell:
            message = "The admin has switched terminals off (allow_shell)."
            raise ServiceError(message, code="shell_disabled", status=403)
        terminal = Terminal(query.term, query.cols, query.rows) if query.terminal else None
        try:
            connection = (await self._attachments.get(job)).connection
            line = enter_job(job.id, _folder(job), connection.node.exec_prefix, query.command)
            return await self._programs.start(connection, line, terminal)
        except NodeError as error:
            raise _explained(error) from error

    async def port(self, job: Job, port: int) -> Piped:
        """A connection to a port of the job's own address on its node, else of its loopback."""
        try:
            connection = (await self._attachments.get(job)).connection
            return await dial_port(connection, (job.node_address, NODE_LOOPBACK), port)
        except NodeError as error:
            raise _explained(error) from error
        except ConnectionRefusedError as error:
            message = f"Nothing answers at port {port} of {job.node}."
            raise ServiceError(message, code="port_refused", status=502) from error

    def tunnels(self, owner: str | None) -> list[TunnelView]:
        """The ports that are carried for an owner's jobs (None: for all)."""
        return self._attachments.tunnels(owner)


def _folder(job: Job) -> str:
    """The job's working directory, relative to its login's home."""
    workdir = workdir_of(job)
    return "" if workdir == "~" else workdir.removeprefix("~/")


def _explained(error: NodeError) -> ServiceError:
    hint = f" {error.hint}" if error.hint else ""
    return ServiceError(f"{error.message}{hint}", code=error.reason, status=503)
