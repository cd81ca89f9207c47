"""What a job asks for."""

from __future__ import annotations

import enum
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from .arrays import array_tasks
from .states import Eviction, JobKind

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Text = Annotated[str, StringConstraints(max_length=131072, pattern=r"^[^\x00]*$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=255)]
Label = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
HostPort = Annotated[
    str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")
]


JobId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
]
"""A UUID in its canonical form, the only form that names a job."""

MAX_NODES = 1000
"""Nodes that one job may ask for."""

MAX_ENTRIES = 1024
"""Entries that a submission may have in a table; what was stored earlier may have more."""


def _relative(value: str) -> str:
    parts = value.split("/")
    if value.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in value:
        raise ValueError("must be a relative path without '.', '..' or empty parts")
    return value


_PART = r"([^/.\x00][^/\x00]*|\.[^/.\x00][^/\x00]*|\.\.[^/\x00]+)"

RelativePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    AfterValidator(_relative),
    # For schemas, which cannot say what the validator says.
    Field(json_schema_extra={"pattern": f"^{_PART}(/{_PART})*$"}),
]
"""A file below a folder; it cannot lead out of it."""

OutputPattern = Annotated[
    Text, Field(json_schema_extra={"pattern": rf"^(\./+)*{_PART}(/({_PART}|\.)?)*$"})
]
"""A file or pattern below the working directory; who submits it is told of what leads elsewhere."""

IMAGE = re.compile(
    r"([~./]*/[^\x00-\x20\x7f][^\x00-\x1f\x7f]*"
    r"|[a-z][a-z-]*:/[^\x00-\x20\x7f]+"
    r"|(\[[0-9A-Fa-f:.]+\](:[0-9]+)?/)?[A-Za-z0-9_][A-Za-z0-9_./-]*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_./-]*){0,2}(@[A-Za-z0-9_]+:[0-9a-f]+)?)",
    re.ASCII,
)
"""A file or folder, a transport with what it takes, or NAME[:TAG][@DIGEST] with a registry."""

ContainerImage = Annotated[Name, Field(json_schema_extra={"pattern": f"^{IMAGE.pattern}$"})]


_PROGRAM: dict[str, Any] = {
    "type": "string",
    "maxLength": 131072,
    "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$",
}
"""The first of a command's words, for schemas: it names a program."""


class Condition(str, enum.Enum):
    """What a job waits for another job to do; the words are those of Slurm."""

    AFTER = "after"
    AFTER_ANY = "afterany"
    AFTER_OK = "afterok"
    AFTER_NOT_OK = "afternotok"


class Dependency(BaseModel):
    """A job that must have started (``after``) or ended first.

    ``afterok``: as FINISHED; ``afternotok``: as FAILED or CANCELLED; ``afterany``: either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: JobId
    when: Condition = Condition.AFTER_OK


def _countable(text: str) -> str:
    array_tasks(text)
    return text


_SPAN = "[0-9]{1,7}(-[0-9]{1,7}(:[0-9]{1,7})?)?"

ArrayText = Annotated[
    str,
    StringConstraints(
        max_length=1024,
        pattern=rf"^{_SPAN}(,{_SPAN})*(%[0-9]{{1,7}})?$",
    ),
    AfterValidator(_countable),
]


class Probe(BaseModel):
    """How the core finds out that a server answers: any HTTP status below 500 at ``path``.

    With ``https`` a finished TLS handshake is the answer, since a server with mutual TLS talks
    HTTP to the hub only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: Literal["http", "https"] = "http"
    path: Annotated[str, StringConstraints(pattern=r"^/[^\s\x00-\x1f\x7f]*$")] = "/"


class JobSpec(BaseModel):
    """What a job asks for, without its secrets. The request's body minus environment and files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: JobKind = JobKind.SERVER
    name: Label = Field("", description="A name for people; need not be unique.")
    comment: Label = Field("", description="A remark for people.")
    command: tuple[Text, ...] = Field(
        default=(),
        max_length=4096,
        description="Program and arguments; never passed through a shell. Empty: its script runs.",
        json_schema_extra={"prefixItems": [_PROGRAM]},
    )
    arguments: tuple[Text, ...] = Field(
        default=(), max_length=4096, description="Arguments of the job's script."
    )
    account: Slug | None = Field(
        None, description="Whom to charge; null: nobody in particular. The core knows which exist."
    )
    site: Slug | None = Field(None, description="Run at this site only; null: any site.")
    flavor: Name | None = Field(None, description="Run on this flavor only; null: any flavor.")
    region: Name | None = Field(None, description="Run in this region only; null: any region.")
    zone: Name | None = Field(None, description="Run in this zone only; null: any zone.")
    spot: bool | None = Field(
        False,
        description=(
            "true: only on spot nodes, which their site may take back; false: never on these; "
            "null: whichever is cheaper."
        ),
    )
    max_price: float | None = Field(
        None, gt=0, le=1e6, description="The most that a node may cost per hour; null: no limit."
    )
    image: Name | None = Field(
        None, description="Image that a node made for this job boots; null: its site's default."
    )
    container: ContainerImage | None = Field(
        None, description="Container image that the job runs in on its node; null: in none."
    )
    relocatable: bool = Field(
        True,
        description="false: only on nodes that exist; nothing is made for the job on demand.",
    )
    on_eviction: Eviction = Field(
        Eviction.REQUEUE,
        description=(
            "What happens when a site takes a spot node back: fail; requeue, to start over on "
            "another node; move, to start over there with the outputs saved from this one."
        ),
    )
    keep: Slug | None = Field(
        None,
        description=(
            "Name of a machine to keep: instead of being deleted, the node made for this job "
            "sleeps after it, and the owner's next job that names it gets it back, files and all."
        ),
    )
    labels: dict[Name, Label] = Field(
        default_factory=dict,
        description="Labels that the node must carry.",
        json_schema_extra={"maxProperties": MAX_ENTRIES},
    )
    cpus: float | None = Field(
        None, gt=0, le=100_000, description="Cores; null: the core's default."
    )
    memory: int | None = Field(None, gt=0, le=2**31, description="MiB; null: the core's default.")
    gpus: int = Field(0, ge=0, le=10_000, description="GPU devices; 0 means none.")
    nodes: int = Field(
        1,
        ge=1,
        le=MAX_NODES,
        description="Nodes, each with the resources above; the job starts on the first of them.",
    )
    storage: int | None = Field(
        None, gt=0, le=2**31, description="GiB of disk that the node must have; null: any."
    )
    storages: tuple[Slug, ...] = Field(
        default=(), max_length=16, description="Shared storages of the core's configuration."
    )
    walltime: int | None = Field(
        None, gt=0, le=366 * 86400, description="Seconds the job may run; null: no limit."
    )
    start_timeout: int = Field(
        120, gt=0, le=86400, description="Seconds a started server has to answer on its port."
    )
    username: Name | None = Field(
        None, description="Login on the node where its site says {username}; null: the owner."
    )
    workdir: Text = Field(
        "",
        description=(
            "Working directory; relative to the login's home. Empty: the home (~); for a script: "
            "a folder of the job's own, which is removed after the job."
        ),
    )
    variables: dict[EnvName, Text] = Field(
        default_factory=dict,
        max_length=1024,
        description="Environment that holds no secrets: it is kept and shown with the job.",
    )
    stdin: Text = Field("", description="File to read, relative to the working directory.")
    stdout: Text = Field(
        "",
        description=(
            "File to write, relative to the working directory; %j is the job's id, %x its name, "
            "%u its owner, %N its node, %A and %a the array's id and index. Empty: only the log."
        ),
    )
    stderr: Text = Field("", description="The same for standard error.")
    merge_output: bool | None = Field(
        None,
        description="Standard error goes where standard output goes; null: of servers only.",
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="TCP port the job serves on its own address of the node."
    )
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), max_length=32, description="Further TCP ports that the job serves."
    )
    probe: Probe | None = Field(
        None, description="How to see that the server answers; null: by TCP."
    )
    forwards: dict[Slug, HostPort] = Field(
        default_factory=dict,
        description="Services near the core that the job reaches on its node: name to host:port.",
        json_schema_extra={"maxProperties": MAX_ENTRIES},
    )
    forward_ports: dict[Slug, Annotated[int, Field(ge=1, le=65535)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Ports that forwards must have on the node; of the others sshd chooses one.",
    )
    inputs: tuple[RelativePath, ...] = Field(
        default=(),
        max_length=1024,
        description=(
            "Files that are uploaded for the job, as they are called in its working directory; "
            "it waits until all are there."
        ),
    )
    outputs: tuple[OutputPattern, ...] = Field(
        default=(),
        max_length=1024,
        description="Files below the working directory to bring home at the end.",
    )
    hold: bool = Field(False, description="Wait in the queue until the job is released.")
    dependencies: tuple[Dependency, ...] = Field(
        default=(), max_length=1024, description="Jobs that must have started or ended before."
    )
    array: ArrayText | None = Field(
        None,
        description=(
            "Submit one job for each index: '0-9', '1,3,5', '0-20:5', '0-99%4' (4 at a time). The "
            "first has the id that was given, and this is the array's id too."
        ),
    )
