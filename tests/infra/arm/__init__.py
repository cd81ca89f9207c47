"""An Azure Resource Manager endpoint for tests: faithful, on loopback, whose VMs may be real.

:class:`~tests.infra.arm.endpoint.ArmEndpoint` serves ARM, Entra and retail prices over HTTPS and
the host's metadata service over HTTP; the unmodified Azure SDK talks to it. Facts come from
recordings of Azure and its documentation.
"""
