"""The core of Sky Port: queue, scheduler, lifecycle, SSH and REST API."""

__version__ = "0.1.0"
