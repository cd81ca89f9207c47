"""Why a job could not be started on its node, in words."""

from __future__ import annotations

from ..model import Failure, Job
from .environment import workdir_of


def start_failure(job: Job, trouble: tuple[str, str], tail: str) -> Failure:
    """What a runner's word and its detail mean (see ``RunnerStatus.trouble``)."""
    word, detail = trouble
    where = f"the working directory, {workdir_of(job) or '~'}"
    reason, message, hint = {
        "workdir": (
            "workdir_unusable",
            f"The working directory {detail} cannot be made or entered on {job.node}",
            "Name another one, or ask the admin for the right to use it.",
        ),
        "stdin": (
            "stdin_missing",
            f"The file {detail!r} for standard input is not on {job.node}, or may not be read",
            f"Name it as an input of the job, or check its path: it is relative to {where}.",
        ),
        "stdout": _unwritable(job, detail, "output", where),
        "stderr": _unwritable(job, detail, "error output", where),
        "interpreter": (
            "interpreter_missing",
            f"The script's first line asks for {detail!r}, which is not on {job.node}",
            "Correct the line after #!, or ask the admin to install the program on the node.",
        ),
        "engine": (
            "no_container_engine",
            f"{job.node} cannot run the image {job.spec.container}: "
            + ("it has no container engine" if detail == "auto" else f"it has no {detail}"),
            "Choose another node, or ask the admin to install podman, docker or apptainer there.",
        ),
        "image": (
            "image_pull",
            f"The image {job.spec.container} could not be brought to {job.node}: {detail}",
            "Check its name, and whether the node reaches its registry and may pull it.",
        ),
        "container": (
            "container",
            f"The image {job.spec.container} could not be run on {job.node}",
            "The log below has what the container engine says.",
        ),
    }.get(word, ("not_started", f"The job could not be started on {job.node}: {word}", ""))
    return Failure(reason, message, hint, tail)


def _unwritable(job: Job, name: str, what: str, where: str) -> tuple[str, str, str]:
    return (
        "output_refused",
        f"The file {name!r} for the job's {what} cannot be written on {job.node}",
        f"Name another one: it is relative to {where}.",
    )
