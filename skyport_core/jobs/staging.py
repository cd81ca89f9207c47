"""STAGING: open the forwards, bring the runner, the files and the environment to the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import EventDraft, Job, JobKind, JobState
from ..ssh.errors import AddressInUse
from ..ssh.runner import RunSpec
from .results import restore
from .step import Step

if TYPE_CHECKING:
    from ..wire import JobSecrets
    from .context import JobContext


async def stage(job: Job, context: JobContext) -> Step:
    """Bring everything that the job needs; every part may be done again without harm.

    The forwards come first, since the ports that sshd allocates go into the environment.
    """
    attachment = await context.attachments.get(job)
    runner = attachment.runner
    if job.partition is not None:
        attachment.watch()
    ports = await attachment.open_forwards(job)
    listen = await attachment.open_listener(job)
    if ports != dict(job.forward_ports) or listen != job.listen:
        return Step({"forward_ports": ports, "listen": listen}, again=0)
    if job.spec.port is not None and not await runner.address_free(job.node_address, job.spec.port):
        raise AddressInUse(
            f"Address {job.node_address}:{job.spec.port} on {job.node} is already in use",
            hint=(
                "Start again: another address is taken then. If it happens again, a program on "
                f"that node listens on port {job.spec.port} of all addresses; ask the admin."
            ),
        )
    await restore(job, context, attachment)
    secrets = await context.store.secrets(job.id)
    prefix = attachment.connection.node.exec_prefix
    await runner.stage(_run_spec(job, secrets, await runner.job_dir(), prefix))
    return Step.to(
        JobState.STARTING,
        EventDraft(
            "Starting the server" if job.spec.kind is JobKind.SERVER else "Starting the job",
            reason="staged",
        ),
    )


def _run_spec(job: Job, secrets: JobSecrets, job_dir: str, exec_prefix: tuple[str, ...]) -> RunSpec:
    return RunSpec(
        command=job.spec.command,
        environment=job_environment(job, secrets, job_dir),
        workdir=job.spec.workdir,
        walltime=job.spec.walltime,
        merge_output=job.spec.kind is JobKind.SERVER,
        files=tuple((file.path, file.mode, file.data) for file in secrets.files),
        exec_prefix=exec_prefix,
    )


def job_environment(job: Job, secrets: JobSecrets, job_dir: str) -> dict[str, str]:
    """The job's environment: the literal values, then the templates with their places filled.

    Only the documented placeholders are replaced, so that other braces in values stay.
    """
    places = {"{address}": job.node_address, "{job_dir}": job_dir}
    if job.spec.port is not None:
        places["{port}"] = str(job.spec.port)
    for name, port in job.forward_ports.items():
        places[f"{{forward:{name}}}"] = f"127.0.0.1:{port}"
    environment = dict(secrets.environment)
    for variable, template in secrets.environment_templates.items():
        value = template
        for place, actual in places.items():
            value = value.replace(place, actual)
        environment[variable] = value
    environment["SKYPORT_JOB_ID"] = job.id
    return environment
