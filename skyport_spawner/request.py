"""A user's server as a job: what the core is asked for."""

from __future__ import annotations

from jupyterhub.utils import url_path_join
from pydantic import ValidationError

from skyport_core.model import Eviction, JobKind, Probe
from skyport_core.wire import FileUpload, JobRequest

from .choices import SkyPortChoices
from .environment import server_environment
from .failures import HubError, spawn_failure
from .options import UserOptions
from .settings import mebibytes
from .slugs import job_name, keep_name

USUAL_PORT = 8888

SPOT = {None: False, "no": False, "yes": True, "any": None}


def job_request(
    spawner: SkyPortChoices, options: UserOptions, files: tuple[FileUpload, ...]
) -> JobRequest:
    """The job for a spawner's server.

    Parameters
    ----------
    spawner
        Its traits and hooks give command, environment and defaults.
    options
        What its user asks for, within the limits.
    files
        Certificates to put into the job's folder.

    Raises
    ------
    tornado.web.HTTPError
        When the configuration makes no valid job.
    """
    base_url = str(spawner.server.base_url)
    try:
        environment = server_environment(
            spawner.get_env(),
            configured=frozenset(spawner.environment),
            base_url=base_url,
            tls=spawner.internal_ssl,
            forward_hub=spawner.forward_hub,
        )
        return JobRequest(
            kind=JobKind.SERVER,
            name=job_name(spawner.name),
            owner=spawner.user.name,
            command=(*(spawner.cmd or ["jupyterhub-singleuser"]), *spawner.get_args()),
            site=options.site,
            flavor=options.flavor,
            region=options.region,
            zone=options.zone,
            spot=SPOT[options.spot],
            max_price=options.max_price,
            image=options.image,
            on_eviction=Eviction(spawner.on_eviction),
            keep=keep_name(spawner.name) if options.keep else None,
            labels=dict(spawner.labels),
            cpus=options.cpus or spawner.cpu_limit or spawner.cpu_guarantee,
            memory=options.memory or mebibytes(spawner.mem_limit or spawner.mem_guarantee),
            gpus=options.gpus or 0,
            walltime=options.walltime,
            start_timeout=spawner.server_timeout,
            username=spawner.format_string(spawner.username_template),
            port=spawner.port or USUAL_PORT,
            probe=Probe(
                scheme="https" if spawner.internal_ssl else "http",
                path=url_path_join(base_url, "api"),
            ),
            forwards=environment.forwards,
            outputs=tuple(spawner.outputs),
            environment=environment.literal,
            environment_templates=environment.templates,
            files=files,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _misconfigured(spawner, f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise _misconfigured(spawner, str(error)) from None


def _misconfigured(spawner: SkyPortChoices, cause: str) -> HubError:
    return spawn_failure(
        "The hub's configuration makes no valid job.",
        reason="configuration",
        hint="Tell your administrator; the hub's log says what is wrong.",
        log_message=f"No valid job for {spawner._log_name}: {cause}",
    )
