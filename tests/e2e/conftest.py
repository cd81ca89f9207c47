"""Three real nodes for a module's tests, and a core and a hub over them for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.nodes import Fabric, Node


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """A network; all nodes made on it go with it."""
    with Fabric() as fabric:
        yield fabric


@pytest.fixture(scope="module")
def nodes(fabric: Fabric) -> list[Node]:
    """Three nodes, each with the users of :data:`tests.infra.nodes.USERS`."""
    return [fabric.add_node(f"node{number}") for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def node(fabric: Fabric) -> Node:
    """The only node of a module."""
    return fabric.add_node("node1")
