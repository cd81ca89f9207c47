"""A gate at work elsewhere: its HTTP API, the gate that calls it, and the server that offers it.

``skyport-core gate serve NAME`` offers a site of the configuration (:mod:`.server`), and the
classes :class:`HTTPGate` and :class:`HTTPStaticGate` are what another core uses in its place.
"""

from .gate import HTTPGate, HTTPStaticGate

__all__ = ["HTTPGate", "HTTPStaticGate"]
