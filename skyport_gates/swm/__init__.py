"""Sites behind the original Sky Port's cloud gate (``swmcloudgate``)."""

from .gate import SwmGate

__all__ = ["SwmGate"]
