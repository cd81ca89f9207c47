"""A parent for the test process that adopts and reaps whatever its descendants leave behind.

Jobs detach from everything that started them, so that neither their parent nor their environment
tells whose they are. As a "child subreaper" (prctl(2)) this parent gets every orphan among the
descendants of the tests: they can be counted at the end, and their zombies do not look alive.
"""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Go on in a child process; this one becomes its reaper and ends with its exit status."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    child = os.fork()
    if child:
        os._exit(_reap_until(child))
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    end_with_parent()


def end_with_parent() -> None:
    """Get SIGTERM when the parent of this process ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _reap_until(child: int) -> int:
    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, forward)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
