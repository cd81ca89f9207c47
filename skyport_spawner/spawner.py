"""SkyPortSpawner: JupyterHub's Spawner contract, kept with the help of the core.

Only the core knows where a server is. The spawner keeps a job's id, and with it three promises:
the id is in the hub's database before the core hears of it; a core that does not answer never
makes a server count as stopped; and no job is forgotten before the core accepted its end.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import jupyterhub
from jupyterhub.spawner import Spawner
from jupyterhub.utils import make_ssl_context, maybe_future, url_escape_path, url_path_join
from markupsafe import Markup
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from skyport_core.client import CoreClient, CoreError, CoreUnavailable
from skyport_core.model import JobState
from skyport_core.wire import EventView, FileUpload, JobRequest, JobView

from . import certs
from .cancels import Cancels
from .choices import SkyPortChoices
from .failures import core_failure, job_failure, spawn_failure
from .link import CoreLink, core_link
from .progress import ProgressEvent, cancel_button, follow
from .request import job_request
from .tokens import TokenMark

STOP_WAIT = 2.0
"""Seconds that a stop waits for a core that does not answer, before it goes on in background."""

UNHEARD_CANCEL = 10.0
"""Seconds after which a start that was cancelled and never stopped is stopped anyway."""

MARGIN = 5.0
"""Seconds before the hub's start_timeout at which the spawner itself gives up, to say why."""

RETRY = 1.0
"""Seconds between two looks for a job while the core is away or does not know it yet."""


class SkyPortSpawner(SkyPortChoices, Spawner):
    """Runs a user's server as a job of the Sky Port core, at whatever site has room for it.

    Nothing of a job depends on the server's name, so renaming a server needs no work here.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._reset()
        super().__init__(**kwargs)

    def _reset(self) -> None:
        self.job_id = ""
        self._asked = False
        self._ended = False
        self._starting = False
        self._accepted = asyncio.Event()
        self._last_event: EventView | None = None
        self._address: tuple[str, int] | None = None
        self._token: TokenMark | None = None
        self._tls_files: tuple[FileUpload, ...] = ()
        self._guard: asyncio.TimerHandle | None = None
        self._outage = False

    @property
    def core_client(self) -> CoreClient:
        """The client of the core, shared by all spawners of the hub."""
        return self._link.client

    @property
    def _cancels(self) -> Cancels:
        return self._link.cancels

    @property
    def _link(self) -> CoreLink:
        return core_link(Path(self.core_socket), Path(self.pending_cancels_path), self.log)

    # -- state ---------------------------------------------------------------------------------

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up the job of an earlier hub, and what that hub could not cancel."""
        super().load_state(state)
        self.job_id = str(state.get("job_id", ""))
        self._asked = bool(self.job_id)
        if "host" in state:
            self._address = (str(state["host"]), int(state["port"]))
        if "token_id" in state:
            self._token = TokenMark(int(state["token_id"]), str(state["token_created"]))
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Not in a running hub, but in one of its commands.
            return
        self._cancels.resume()

    def get_state(self) -> dict[str, Any]:
        """The job's id and address, and which API token is the server's; never the token."""
        state: dict[str, Any] = super().get_state()
        if self._asked:
            state["job_id"] = self.job_id
        if self._address is not None:
            state["host"], state["port"] = self._address
        if self._token is not None:
            state["token_id"], state["token_created"] = self._token.id, self._token.created
        return state

    def clear_state(self) -> None:
        """Forget the job. One that may live on is cancelled first, also while the core is away."""
        self._release()
        if self._token is not None and not self.api_token and not self.will_resume:
            self._token.revoke(self._session)
        super().clear_state()
        self._reset()

    def delete_forever(self) -> None:
        """The server or its user is being deleted: leave no job behind."""
        self._release()

    def _release(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
        if self._asked and not self._ended:
            self._cancels.add(self.job_id)

    def _remember(self) -> None:
        """Put the job into the hub's database before the core hears of it.

        A hub that is killed from now on finds the job again, instead of leaving it behind.
        """
        self._asked = True
        self._token = TokenMark.of(self._session, self.api_token)
        self.orm_spawner.state = self.get_state()
        self._session.commit()

    @property
    def _session(self) -> Session:
        session: Session = inspect(self.orm_spawner).session
        return session

    # -- start ---------------------------------------------------------------------------------

    async def start(self) -> tuple[str, int]:
        """Submit the job and return where its server answers, once it does.

        Raises
        ------
        tornado.web.HTTPError
            When the server does not start, with the core's words for its user.
        """
        self._starting = True
        try:
            self._choose_job_id()
            options = self.resolve_options(self.user_options)
            request = job_request(self, options, self._tls_files)
            self._remember()
            address = await self._within_deadline(self._bring_up(request))
        except asyncio.CancelledError:
            # Without this, viewers of the progress page are told that the server is ready.
            self.server = None
            # poll() goes on to say that the server runs, so that the hub calls stop().
            loop = asyncio.get_running_loop()
            self._guard = loop.call_later(UNHEARD_CANCEL, self._release)
            raise
        except BaseException:
            self._starting = False
            raise
        self._starting = False
        return address

    async def _within_deadline(self, bringing_up: Any) -> tuple[str, int]:
        """Give up a little before the hub does, which could not say what took so long."""
        limit = max(self.start_timeout - MARGIN, self.start_timeout * 0.8)
        try:
            address: tuple[str, int] = await asyncio.wait_for(bringing_up, limit)
        except asyncio.TimeoutError:
            await self._cancels.cancel(self.job_id, wait=MARGIN / 5)
            last = self._last_event
            phase = f"It got as far as {last.state.value}: {last.message}." if last else ""
            raise spawn_failure(
                f"The server was not ready within {limit:g} seconds. {phase}".strip(),
                reason="timeout",
                hint=last.hint if last else "",
                log_message=f"Job {self.job_id} was not ready in {limit:g} s. {phase}",
                status_code=504,
            ) from None
        return address

    async def _bring_up(self, request: JobRequest) -> tuple[str, int]:
        try:
            await self.core_client.put_job(self.job_id, request, wait=self.core_timeout)
            self._accepted.set()
            job = await self._until_settled()
        except (CoreUnavailable, CoreError) as error:
            raise core_failure(error) from error
        if job is None or job.state is not JobState.RUNNING or job.address is None:
            self._ended = job is not None and job.state.final
            if job is None:
                raise core_failure(CoreError(404, "not_found", f"job {self.job_id} is gone"))
            raise job_failure(job)
        self._address = (job.address.host, job.address.port)
        if self.internal_ssl:
            await self._answers_over_tls(self._address)
        return self._address

    async def _until_settled(self) -> JobView | None:
        """Follow the job until it runs or has ended; None when the core knows no such job."""
        async with aclosing(self.core_client.events(self.job_id, wait=self.core_timeout)) as events:
            async for event in events:
                self._last_event = event
                if event.state is JobState.RUNNING or event.state.final:
                    break
        return await self.core_client.get_job(self.job_id, wait=self.core_timeout)

    async def _answers_over_tls(self, address: tuple[str, int]) -> None:
        settings = self.user.settings
        context = make_ssl_context(
            settings["internal_ssl_key"],
            settings["internal_ssl_cert"],
            cafile=settings["internal_ssl_ca"],
        )
        await certs.answers_over_tls(url_path_join(self._url(address), "api"), context)

    def _url(self, address: tuple[str, int]) -> str:
        scheme = "https" if self.internal_ssl else "http"
        host, port = address
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{port}{self.server.base_url}"

    def _choose_job_id(self) -> None:
        if not self.job_id:
            self.job_id = str(uuid.uuid4())

    # -- while it runs -------------------------------------------------------------------------

    async def poll(self) -> int | None:
        """None while the server runs, starts, or cannot be asked for; else its exit code.

        Never raises: a hub would take that for the end of the server and forget it.
        """
        if self._starting:
            return None
        if not self._asked:
            return 0
        try:
            job = await self.core_client.get_job(self.job_id)
        except (CoreUnavailable, CoreError) as error:
            if not self._outage:
                self.log.warning(
                    "Cannot ask for %s, so it counts as running: %s", self._log_name, error
                )
            self._outage = True
            return None
        except Exception:
            self.log.exception("Asking for %s failed; it counts as running", self._log_name)
            return None
        self._outage = False
        if job is None:
            return 0
        # A job that collects to run elsewhere lives on: its spot machine is taken back.
        if job.state.final or (job.state is JobState.COLLECTING and job.target.final):
            self._ended = job.state.final
            return exit_status(job)
        return None

    async def get_url(self) -> str:
        """Where the server answers, waiting for one that is still starting.

        The hub asks this when it was restarted, and waits for as long as it takes.
        """
        job = await self._found_again()
        if job is not None and job.state is JobState.RUNNING and job.address is not None:
            self._address = (job.address.host, job.address.port)
            # The hub itself stores a URL's scheme under a name that nothing reads.
            self.server.proto = "https" if self.internal_ssl else "http"
            return self._url(self._address)
        self.log.warning(
            "%s did not start while the hub was away: %s",
            self._log_name,
            job_failure(job).log_message if job else f"the core knows no job {self.job_id}",
        )
        # The only way to say so: the hub looks for the server once, in vain, and cleans up.
        self.http_timeout = 1
        return str(self.server.url)

    async def _found_again(self) -> JobView | None:
        while True:
            try:
                job = await self._until_settled()
                self._ended = job is not None and job.state.final
                return job
            except CoreUnavailable as error:
                self.log.info("Waiting for the core, to find %s: %s", self._log_name, error)
            except CoreError as error:
                if error.status == 404:
                    return None
                self.log.warning("Cannot ask for %s now: %s", self._log_name, error)
            await asyncio.sleep(RETRY)

    # -- stop ----------------------------------------------------------------------------------

    async def stop(self, now: bool = False) -> None:
        """End the job, and wait up to ``stop_timeout`` until it is gone.

        Returns also when the core cannot be reached; it is told as soon as it is back, by this
        hub or the next. ``now`` does not wait for results to be brought home.
        """
        self._starting = False
        if not self._asked:
            return
        if not await self._cancels.cancel(self.job_id, wait=min(STOP_WAIT, self.stop_timeout)):
            self.log.warning(
                "The core cannot be reached to stop %s (job %s); it is stopped as soon as the core "
                "is back",
                self._log_name,
                self.job_id,
            )
            return
        self._ended = True
        if now:
            return
        try:
            await asyncio.wait_for(self._until_gone(), self.stop_timeout)
        except asyncio.TimeoutError:
            self.log.warning(
                "Stopping %s (job %s) takes longer than %g s; the core goes on with it",
                self._log_name,
                self.job_id,
                self.stop_timeout,
            )
        except (CoreUnavailable, CoreError) as error:
            self.log.info(
                "The core was told to stop %s, and is away now: %s", self._log_name, error
            )

    async def _until_gone(self) -> None:
        try:
            async with aclosing(self.core_client.events(self.job_id)) as events:
                async for event in events:
                    if event.state.final:
                        return
        except CoreError as error:
            if error.status != 404:
                raise

    # -- progress ------------------------------------------------------------------------------

    async def progress(self) -> AsyncGenerator[ProgressEvent, None]:
        """All events of the start so far and then each new one, anew for every viewer."""
        # The page has a button of its own that is right for the default server (hub 6).
        own = not self.name and jupyterhub.version_info >= (6,)
        button = Markup() if own else cancel_button(self._api_url, self.name)
        following = follow(self.core_client, lambda: self.job_id, self._accepted, button, self.log)
        async with aclosing(following) as entries:
            async for entry in entries:
                yield entry

    @property
    def _api_url(self) -> str:
        parts = [self.hub.base_url, "api/users", self.user.escaped_name]
        named = ["servers", url_escape_path(self.name)] if self.name else ["server"]
        return str(url_path_join(*parts, *named))

    # -- internal_ssl --------------------------------------------------------------------------

    async def create_certs(self) -> dict[str, str]:
        """Make a certificate for the address that the job will have.

        The job's id, and with it its address, is chosen here for that reason. The files are read
        at once, since a user's servers share their names.
        """
        self._choose_job_id()
        configured = self.ssl_alt_names
        names = await maybe_future(configured(self)) if callable(configured) else configured
        self.ssl_alt_names = [*names, *certs.alt_names(self.job_id)]
        try:
            paths: dict[str, str] = await super().create_certs()
            self._tls_files = certs.uploads(paths)
        finally:
            self.ssl_alt_names = configured
        return paths

    async def move_certs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Where the files will be on the node; they go with the job, readable for its owner."""
        return certs.remote_paths(paths)


def exit_status(job: JobView) -> int:
    """A job's end as a number for the hub; failures without an exit code are 1."""
    if job.exit_code is not None:
        return job.exit_code
    return 1 if job.failure is not None else 0
