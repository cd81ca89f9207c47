"""Fixtures of all tests of the core."""

from tests.infra.desk import desk, open_desk
from tests.infra.postgres import postgresql

__all__ = ["desk", "open_desk", "postgresql"]
