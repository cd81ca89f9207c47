"""How many files and connections a process may have open at once (RLIMIT_NOFILE)."""

from __future__ import annotations

import contextlib
import logging
import resource

log = logging.getLogger("skyport.descriptors")

_usual = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_limit() -> int:
    """Let this process have as many as its hard limit says; how many those are.

    The usual soft limit of 1024 is there for programs that use ``select()``; a core with a
    thousand connections would be at its end.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("At most %d files and connections can be open at once: %s", soft, error)
        return soft
    return hard


def restore_limit(pid: int) -> None:
    """Give a child what this process had at its start: jobs may use ``select()``."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _usual)
