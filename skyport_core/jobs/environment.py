"""What a job finds on its node: its working directory and its environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..model import Job, Resources, array_tasks
from .streams import streams_of

if TYPE_CHECKING:
    from ..wire import JobSecrets

OWN_FOLDER = "work"
"""Folder of a script within that of its job; it goes with it."""

SCRIPT = "script"
"""Name of the script in the job's folder."""

TOOLS = "bin"
"""Name of the folder there with programs that stand in for those which the node may lack."""

OWN_NAMES = frozenset({SCRIPT, TOOLS, OWN_FOLDER, "nodes"})
"""What of the job's folder is the core's, so that no file given with the job may be called so."""

OWN_PREFIX = "SKYPORT_"
"""How the names of the core's own variables begin, which no job can be given."""

MAX_TASKS = 10**6
"""Tasks that a job may tell its programs of."""


def workdir_of(job: Job) -> str:
    """The working directory, relative to the login's home unless it is absolute.

    A script that names none has one of its own in the job's folder.
    """
    if job.scripted and not job.spec.workdir:
        return f".skyport/jobs/{job.id}/{OWN_FOLDER}"
    return job.spec.workdir


@dataclass(frozen=True)
class Place:
    """Where a job is put on its node.

    Attributes
    ----------
    job_dir, workdir
        Its folder and its working directory, absolute.
    nodes
        Name and address of each node that is the job's, its own first.
    storages
        Paths of shared storages by their names.
    slurm
        The job runs inside an allocation of a real Slurm, which sets its own variables.
    """

    job_dir: str
    workdir: str
    nodes: tuple[tuple[str, str], ...]
    storages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    slurm: bool = False


def job_environment(job: Job, secrets: JobSecrets, place: Place) -> dict[str, str]:
    """The job's environment: what it was given, and what every job is told.

    Of the templates only the documented placeholders are replaced, so that other braces in values
    stay. What is called SKYPORT_… is always the core's; the words of Slurm and of the original Sky
    Port are there unless the job was given others.
    """
    environment = dict(_script_words(job, place)) if job.scripted else {}
    environment |= {} if place.slurm else dict(_slurm_array_words(job))
    environment |= job.spec.variables
    environment |= secrets.environment
    places = _placeholders(job, place)
    for variable, value in secrets.environment_templates.items():
        for placeholder, actual in places.items():
            value = value.replace(placeholder, actual)
        environment[variable] = value
    # The job's id marks its processes, and no name here may mean something else than it says.
    given = {name: value for name, value in environment.items() if not name.startswith(OWN_PREFIX)}
    return given | dict(_own_words(job, place))


def _placeholders(job: Job, place: Place) -> dict[str, str]:
    places = {"{address}": job.node_address, "{job_dir}": place.job_dir}
    if job.spec.port is not None:
        places["{port}"] = str(job.spec.port)
    for name, port in job.forward_ports.items():
        places[f"{{forward:{name}}}"] = f"127.0.0.1:{port}"
    return places


def _own_words(job: Job, place: Place) -> Iterator[tuple[str, str]]:
    held = job.reserved or Resources()
    yield "SKYPORT_JOB_ID", job.id
    yield "SKYPORT_JOB_NAME", job.spec.name
    yield "SKYPORT_JOB_DIR", place.job_dir
    yield "SKYPORT_NODES", " ".join(name for name, _ in place.nodes)
    yield "SKYPORT_NODE_ADDRESSES", " ".join(address for _, address in place.nodes)
    yield "SKYPORT_CPUS", f"{held.cpus:g}"
    yield "SKYPORT_MEMORY", str(held.memory)
    yield "SKYPORT_GPUS", str(held.gpus)
    yield "SKYPORT_SITE", job.site or ""
    if job.flavor or job.spec.flavor:
        yield "SKYPORT_FLAVOR", job.flavor or job.spec.flavor or ""
    if job.array_id is not None:
        yield "SKYPORT_ARRAY_ID", job.array_id
        yield "SKYPORT_ARRAY_INDEX", str(job.array_index or 0)
    for name in reversed(job.spec.storages):
        path = place.storages.get(name, "")
        yield f"SKYPORT_STORAGE_{_variable(name)}", path
        yield "SKYPORT_STORAGE", path  # the first one's is the last to be said


def _variable(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name).upper()


def _script_words(job: Job, place: Place) -> Iterator[tuple[str, str]]:
    script = f"{place.job_dir}/{SCRIPT}"
    yield "SWM_JOB_ID", job.id
    yield "SWM_JOBID", job.id
    yield "SWM_JOB_SCRIPT", script
    yield "SWM_WORK_DIR", place.workdir
    yield "SWM_USER_NAME", job.owner
    streams = streams_of(job)
    stdout = streams.stdout or f"{place.job_dir}/stdout.log"
    stderr = stdout if streams.merged else streams.stderr or f"{place.job_dir}/stderr.log"
    for word, path in (("STDIN", streams.stdin), ("STDOUT", stdout), ("STDERR", stderr)):
        below = f"{place.workdir}/{path}" if path and not path.startswith("/") else path
        yield f"SWM_{word}_PATH", below or "/dev/null"
    if not place.slurm:
        yield from _slurm_words(job, place)


def _slurm_words(job: Job, place: Place) -> Iterator[tuple[str, str]]:
    held = job.reserved or Resources()
    cpus = max(1, int(held.cpus))
    given = job.spec.variables.get("SLURM_NTASKS", "")
    known = given.isascii() and given.isdecimal() and len(given) < 10
    tasks = min(int(given), MAX_TASKS) if known and int(given) > 0 else 1
    names = ",".join(name for name, _ in place.nodes)
    yield "SLURM_JOB_ID", job.id
    yield "SLURM_JOBID", job.id
    yield "SLURM_JOB_NAME", job.spec.name or SCRIPT
    yield "SLURM_JOB_USER", job.username or job.owner
    yield "SLURM_JOB_PARTITION", job.site or ""
    if job.spec.account:
        yield "SLURM_JOB_ACCOUNT", job.spec.account
    yield "SLURM_SUBMIT_DIR", place.workdir
    yield "SLURM_JOB_NODELIST", names
    yield "SLURM_NODELIST", names
    yield "SLURM_JOB_NUM_NODES", str(len(place.nodes))
    yield "SLURM_NNODES", str(len(place.nodes))
    yield "SLURMD_NODENAME", job.node or ""
    yield "SLURM_NTASKS", str(tasks)
    yield "SLURM_NPROCS", str(tasks)
    yield "SLURM_TASKS_PER_NODE", _per_node(tasks, len(place.nodes))
    yield "SLURM_CPUS_PER_TASK", str(max(1, min(cpus, cpus * len(place.nodes) // tasks)))
    yield "SLURM_CPUS_ON_NODE", str(cpus)
    yield "SLURM_JOB_CPUS_PER_NODE", _per_node(cpus * len(place.nodes), len(place.nodes))
    yield "SLURM_MEM_PER_NODE", str(held.memory)
    if held.gpus:
        yield "SLURM_GPUS", str(held.gpus * len(place.nodes))
        yield "SLURM_GPUS_ON_NODE", str(held.gpus)
    for zero in ("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID"):
        yield zero, "0"


def _per_node(total: int, nodes: int) -> str:
    """How Slurm writes what each node has of a total: ``3(x2),2``."""
    least, more = divmod(total, max(1, nodes))
    counts = ((least + 1, more), (least, nodes - more))
    return ",".join(f"{n}(x{times})" if times > 1 else f"{n}" for n, times in counts if times)


def _slurm_array_words(job: Job) -> Iterator[tuple[str, str]]:
    if job.array_id is not None:
        yield "SLURM_ARRAY_JOB_ID", job.array_id
        yield "SLURM_ARRAY_TASK_ID", str(job.array_index or 0)
        if job.spec.array is not None:
            indices, _ = array_tasks(job.spec.array)
            yield "SLURM_ARRAY_TASK_COUNT", str(len(indices))
            yield "SLURM_ARRAY_TASK_MIN", str(indices[0])
            yield "SLURM_ARRAY_TASK_MAX", str(indices[-1])
