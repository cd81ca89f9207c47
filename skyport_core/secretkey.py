"""The key that secrets are encrypted with at rest."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet


def load_secret_key(home: Path) -> bytes:
    """The Fernet key in ``home/secret.key`` (0600), made at the first call."""
    path = home / "secret.key"
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
        part.replace(path)
    return path.read_bytes().strip()
