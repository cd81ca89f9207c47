"""The programs for a node as text, and how to have a node's shell run the first of them."""

from __future__ import annotations

from pathlib import Path


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


PROGRAM = _text("runner.sh")
"""The runner."""

CARRIED = f"program() {{\ncat <<'END OF THE RUNNER'\n{PROGRAM}END OF THE RUNNER\n}}\n{PROGRAM}"
"""The runner with its own text at hand, for operations that leave it on the node."""

LAUNCH = _text("launch.sh")
"""What the runner reads to become the job."""

CONTAINER = _text("container.sh")
"""What runs a job in a container, beside the runner."""

SRUN = _text("srun.sh")
"""What stands in for Slurm's srun."""

COMMAND = "exec sh -s {}"
"""The program travels by standard input: it needs no file on the node and is never outdated.
The line is plain enough to mean the same in every login shell, fish and csh included."""
