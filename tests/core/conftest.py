"""Fixtures of all tests of the core."""

from tests.infra.desk import desk, open_desk

__all__ = ["desk", "open_desk"]
