"""STAGING: open the forwards, bring the runner, the files and the environment to the node."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobKind, JobState
from ..ssh.errors import AddressInUse
from ..ssh.program import SRUN
from ..ssh.runner import RunSpec
from ..ssh.runspec import Container
from .environment import SCRIPT, TOOLS, Place, job_environment, workdir_of
from .inputs import bring_inputs
from .results import restore
from .script import interpreter_of, script_command
from .step import Step
from .streams import streams_of

if TYPE_CHECKING:
    from ..wire import JobSecrets
    from .attachment import Attachment
    from .context import JobContext

Files = tuple[tuple[str, int, bytes], ...]
"""Path in the job's folder, mode and content of each file."""


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
        borrowed = attachment.borrowed()
        told = EventDraft(borrowed, reason="port_borrowed") if borrowed else None
        return Step({"forward_ports": ports, "listen": listen}, told, again=0)
    if job.spec.port is not None and not await runner.address_free(job.node_address, job.spec.port):
        raise AddressInUse(
            f"Address {job.node_address}:{job.spec.port} on {job.node} is already in use",
            hint=(
                "Start again: another address is taken then. If it happens again, a program on "
                f"that node listens on port {job.spec.port} of all addresses; ask the admin."
            ),
        )
    await bring_inputs(job, context, attachment, workdir_of(job))
    await restore(job, context, attachment)
    secrets = await context.store.secrets(job.id)
    script = await context.store.script(job.id) if job.scripted else None
    place = await _place(job, context, attachment)
    failure = _unfit(job, context, place)
    if failure is not None:
        return Step.fail(failure)
    await runner.stage(_run_spec(job, context, secrets, script, place, attachment))
    return Step.to(
        JobState.STARTING,
        EventDraft(
            "Starting the server" if job.spec.kind is JobKind.SERVER else "Starting the job",
            reason="staged",
        ),
        {"walltime_told": job.spec.walltime or 0},
    )


async def _place(job: Job, context: JobContext, attachment: Attachment) -> Place:
    runner = attachment.runner
    node = attachment.connection.node
    nodes = [node]
    if job.spec.nodes > 1 and job.partition is not None and job.site is not None:
        gate = context.sites.gates[job.site]
        made = (await context.sites.call(job.site, gate.get(job.partition))).nodes
        nodes += [other for other in made if other.name != node.name]
    return Place(
        job_dir=await runner.job_dir(),
        workdir=await runner.path_of(workdir_of(job)),
        nodes=tuple((each.name, each.endpoint.host) for each in nodes),
        storages=context.settings.storages,
        slurm=bool(node.exec_prefix),
    )


def _run_spec(
    job: Job,
    context: JobContext,
    secrets: JobSecrets,
    script: str | None,
    place: Place,
    attachment: Attachment,
) -> RunSpec:
    streams = streams_of(job)
    container = _container(job, context, place)
    command, interpreter = job.spec.command, ""
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    if script is not None:
        path = f"{place.job_dir}/{SCRIPT}"
        command = (*script_command(script, path), *job.spec.arguments)
        if container is None and not place.slurm:
            interpreter = interpreter_of(script)
        # Slurm's own srun would not know this job, unless it is in an allocation of Slurm's.
        first = () if place.slurm else (f"{place.job_dir}/{TOOLS}",)
        last = (place.workdir,)
    return RunSpec(
        command=command,
        environment=job_environment(job, secrets, place),
        workdir=workdir_of(job),
        walltime=job.spec.walltime,
        merge_output=streams.merged,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        files=_files(script, secrets, place),
        path_first=first,
        path_last=last,
        interpreter=interpreter,
        container=container,
        exec_prefix=attachment.connection.node.exec_prefix,
    )


def _files(script: str | None, secrets: JobSecrets, place: Place) -> Files:
    """What goes into the job's folder; in a command's job, a file that it brings comes first."""
    nodes = "".join(f"{name} {address}\n" for name, address in place.nodes)
    files = {"nodes": (0o600, nodes.encode())}
    if script is not None:
        files[SCRIPT] = (0o700, script.encode(errors="surrogateescape"))
        if not place.slurm:
            files[f"{TOOLS}/srun"] = (0o700, SRUN.encode())
    files |= {file.path: (file.mode, file.data) for file in secrets.files}
    return tuple((path, mode, data) for path, (mode, data) in files.items())


def _unfit(job: Job, context: JobContext, place: Place) -> Failure | None:
    """What could not be known before the job had a node, and no other node could help."""
    box = _container(job, context, place)
    unsafe = next((folder for folder in box.mounts if ":" in folder), None) if box else None
    if unsafe is not None:
        return Failure(
            "workdir_unusable",
            f"A container cannot be shown the folder {unsafe!r}, since its path has a colon",
            "Name a working directory without one.",
        )
    return None


def _container(job: Job, context: JobContext, place: Place) -> Container | None:
    """The image to run in; it sees the home, the job's folder and storages where they are."""
    engine = context.settings.container_engine
    if job.spec.container is None or engine == "none":
        return None
    home = place.job_dir.removesuffix(f"/.skyport/jobs/{job.id}")
    shared = (place.storages[name] for name in job.spec.storages if name in place.storages)
    folders: list[str] = []
    for folder in (home, place.job_dir, place.workdir, *shared):
        if folder and not any(PurePosixPath(folder).is_relative_to(known) for known in folders):
            folders.append(folder)
    return Container(job.spec.container, engine, job.spec.gpus > 0, tuple(folders))
