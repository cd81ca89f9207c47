"""Recorded data of Azure that tests compare with; it stands beside the checkout, not in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[2]

DATA = Path(os.environ.get("SKYPORT_TEST_DATA") or _CHECKOUT.parent / "shared" / "data")
AZURE_DATA = DATA / "azure"

needs_azure_data = pytest.mark.skipif(
    not AZURE_DATA.is_dir(),
    reason="needs recorded data of Azure in SKYPORT_TEST_DATA (the folder that holds azure/)",
)
"""Mark of tests that use :data:`AZURE_DATA`."""
