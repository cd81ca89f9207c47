"""The key that secrets are encrypted with at rest."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet


def load_secret_key(home: Path) -> bytes:
    """The Fernet key in ``home/secret.key`` (0600), made at the first call."""
    path = home / "secret.key"
    if not path.exists():
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        # A command may run while the core starts: the first of them makes the key.
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    return path.read_bytes().strip()
