"""The runner program as text, and how to have a node's shell run it."""

from __future__ import annotations

from pathlib import Path

PROGRAM = Path(__file__).with_name("runner.sh").read_text(encoding="utf-8")

COMMAND = "exec sh -s {}"
"""The program travels by standard input: it needs no file on the node and is never outdated.
The line is plain enough to mean the same in every login shell, fish and csh included."""
