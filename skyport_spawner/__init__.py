"""The terminal of JupyterHub: a Spawner that runs servers as jobs of the Sky Port core."""

from .spawner import SkyPortSpawner

__all__ = ["SkyPortSpawner"]
