"""How many files a process and its children may have open at once."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, subprocess, sys
from skyport_gates import descriptors
child = "import resource, sys; sys.stdin.read(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
print(descriptors.raise_limit())
with subprocess.Popen([sys.executable, "-c", child], stdin=-1, stdout=-1, text=True) as process:
    descriptors.restore_limit(process.pid)
    print(process.communicate("")[0], end="")
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_is_raised_for_the_process_but_not_for_what_it_starts() -> None:
    command = ["/bin/sh", "-c", 'ulimit -Sn 200; ulimit -Hn 300; exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.splitlines() == ["300", "200 300", "300 300"], done.stderr
