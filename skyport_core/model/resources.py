"""What a job needs or a node has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What a job needs or a node has: ``cpus`` (cores), ``memory`` (MiB), ``gpus`` (devices)."""

    cpus: float = 0.0
    memory: int = 0
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            round(self.cpus + other.cpus, 3), self.memory + other.memory, self.gpus + other.gpus
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            round(self.cpus - other.cpus, 3), self.memory - other.memory, self.gpus - other.gpus
        )

    def fits_in(self, free: Resources) -> bool:
        """Whether ``free`` covers this need in every dimension."""
        return self.cpus <= free.cpus and self.memory <= free.memory and self.gpus <= free.gpus

    def __str__(self) -> str:
        text = f"{self.cpus:g} cpus, {self.memory} MiB"
        return f"{text}, {self.gpus} gpus" if self.gpus else text
