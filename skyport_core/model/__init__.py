"""Jobs, events, partitions and their states: plain data without I/O."""

from .addresses import (
    CORE_NETWORK,
    NODE_NETWORK,
    NUMBER_BITS,
    core_address,
    next_number,
    node_address,
    preferred_number,
)
from .arrays import MAX_TASKS, ArrayTasks, array_tasks, task_id
from .certificate import BY_HUB, CertificateKind, CertificateRecord
from .job import Event, EventDraft, Failure, Job
from .partition import PartitionRecord
from .resources import Resources
from .spec import (
    MAX_NODES,
    Condition,
    Dependency,
    EnvName,
    HostPort,
    JobId,
    JobSpec,
    Label,
    Name,
    Probe,
    RelativePath,
    Slug,
    Text,
)
from .states import (
    ACTIVE_STATES,
    FINAL_STATES,
    PROGRESS,
    Eviction,
    JobKind,
    JobState,
    PartitionState,
)

__all__ = [
    "ACTIVE_STATES",
    "BY_HUB",
    "CORE_NETWORK",
    "FINAL_STATES",
    "MAX_NODES",
    "MAX_TASKS",
    "NODE_NETWORK",
    "NUMBER_BITS",
    "PROGRESS",
    "ArrayTasks",
    "CertificateKind",
    "CertificateRecord",
    "Condition",
    "Dependency",
    "EnvName",
    "Event",
    "EventDraft",
    "Eviction",
    "Failure",
    "HostPort",
    "Job",
    "JobId",
    "JobKind",
    "JobSpec",
    "JobState",
    "Label",
    "Name",
    "PartitionRecord",
    "PartitionState",
    "Probe",
    "RelativePath",
    "Resources",
    "Slug",
    "Text",
    "array_tasks",
    "core_address",
    "next_number",
    "node_address",
    "preferred_number",
    "task_id",
]
