"""The kit with which a gate proves that it keeps the contract of :mod:`skyport_gates.gate`.

A gate's own test module derives a class from :class:`StaticGateConformance` (fixed nodes) or
:class:`ElasticGateConformance` (partitions on demand) and says how to make the gate; one whose
partitions can sleep adds :class:`SuspendConformance`::

    import pytest

    pytest.register_assert_rewrite("skyport_gates.conformance")
    from skyport_gates.conformance import ElasticGateConformance

    class TestMyGate(ElasticGateConformance):
        ready_timeout = 900.0

        def make_gate(self):
            return MyGate(region="north")

It needs pytest and pytest-asyncio, and works in both of the latter's modes. Fixtures of the
gate's own (an endpoint to talk to, credentials) are ``autouse`` fixtures of the derived class
that set attributes on ``self``. The elastic tests create partitions for real, one or two each,
and wait until these are gone again.
"""

from .base import GateConformance
from .elastic import ElasticGateConformance
from .static import StaticGateConformance
from .suspend import SuspendConformance

__all__ = [
    "ElasticGateConformance",
    "GateConformance",
    "StaticGateConformance",
    "SuspendConformance",
]
