"""The core's limits and defaults, gathered from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .accounts import Account
from .model import JobState


@dataclass(frozen=True)
class Settings:
    """Deadlines (seconds) and defaults of the lifecycle; each is a trait of ``SkyPortCore``."""

    allocate_timeout: float = 60.0
    login_timeout: float = 12.0
    partition_timeout: float = 900.0
    boot_timeout: float = 300.0
    staging_timeout: float = 120.0
    collect_timeout: float = 60.0
    node_lost_timeout: float = 300.0
    tunnel_wait: float = 90.0
    probe_interval: float = 0.05
    stop_grace: float = 5.0
    suspect_time: float = 60.0
    block_time: float = 600.0
    max_attempts: int = 5
    max_offers: int = 20
    keep_time: float = 14 * 86400.0
    max_output: int = 10 * 2**30
    max_output_files: int = 100_000
    max_input: int = 10 * 2**30
    max_log: int = 256 * 2**20
    max_jobs: int = 20_000
    max_inputs_total: int = 100 * 2**30
    max_outputs_total: int = 100 * 2**30
    max_stored_total: int = 2**30
    allow_shell: bool = True
    default_cpus: float = 1.0
    default_memory: int = 1024
    tunnel_address: str = ""
    tunnel_ports: tuple[int, int] = (20000, 29999)
    container_engine: str = "auto"
    storages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allowed_forwards: tuple[str, ...] = ()
    peer_forwards: bool = True

    max_walltime: int = 0
    record_time: float = 90 * 86400.0
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))
    input_timeout: float = 86400.0

    def deadline(self, state: JobState, *, start_timeout: int, elastic: bool) -> float | None:
        """Seconds a job may stay in ``state``; None where only its walltime limits it."""
        return {
            JobState.ALLOCATING: self.partition_timeout if elastic else self.allocate_timeout,
            JobState.STAGING: self.staging_timeout,
            JobState.STARTING: float(start_timeout),
            JobState.COLLECTING: self.partition_timeout if elastic else self.collect_timeout,
        }.get(state)
