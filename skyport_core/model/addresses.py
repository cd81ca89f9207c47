"""The number of a job, and the loopback addresses that follow from it."""

from __future__ import annotations

import hashlib

NUMBER_BITS = 21
"""Width of a job's number: it selects the job's address inside a /11 of 127.0.0.0/8."""

NODE_NETWORK = 0x7F400000  # 127.64.0.0/11, where a job listens on its node
CORE_NETWORK = 0x7F600000  # 127.96.0.0/11, where the core listens for the job


def preferred_number(job_id: str) -> int:
    """The number that a job takes when it is free: the low 21 bits of a hash of its id, never 0."""
    digest = hashlib.sha256(job_id.encode()).digest()
    return int.from_bytes(digest[:4], "big") % ((1 << NUMBER_BITS) - 1) + 1


def next_number(number: int) -> int:
    """The number to try when ``number`` is taken."""
    return number % ((1 << NUMBER_BITS) - 1) + 1


def node_address(number: int) -> str:
    """Loopback address on the node: 127.64.0.0/11 plus the number."""
    return _dotted(NODE_NETWORK + number)


def core_address(number: int) -> str:
    """Loopback address at the core: 127.96.0.0/11 plus the number."""
    return _dotted(CORE_NETWORK + number)


def _dotted(value: int) -> str:
    return ".".join(str(value >> shift & 0xFF) for shift in (24, 16, 8, 0))
