"""The machines' SSH host keys: derived from one secret and the machine's name, never stored.

A repeated request has the same body that way, and a core that was restarted still knows what to
pin. HKDF-SHA256 (RFC 5869) gives the seed of an Ed25519 key (RFC 8032); the private half is
written in OpenSSH's own format (its PROTOCOL.key).
"""

from __future__ import annotations

import base64
import secrets
import struct
import textwrap

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..gate import GateStore

STORE_KEY = "secret"
_TYPE = b"ssh-ed25519"


class Keys:
    """Derives keys from a secret of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    async def load(cls, store: GateStore) -> Keys:
        """With the secret that the gate keeps, which is made at the first time."""
        text = await store.get(STORE_KEY)
        if text is None:
            await store.put(STORE_KEY, base64.b64encode(secrets.token_bytes(32)).decode())
            text = await store.get(STORE_KEY)
        return cls(base64.b64decode(text or ""))

    def public(self, name: str) -> str:
        """The public key of a machine, as "ssh-ed25519 AAAA…"."""
        return f"{_TYPE.decode()} {base64.b64encode(_blob(self._seed(name))).decode()}"

    def private(self, name: str) -> str:
        """The private key of a machine, in OpenSSH's format; always the same text."""
        seed = self._seed(name)
        blob = _blob(seed)
        check = self._derive(f"check {name}", 4)
        secret = _text(seed + blob[-32:])
        inner = check + check + _text(_TYPE) + _text(blob[-32:]) + secret + _text(b"")
        inner += bytes(range(1, -len(inner) % 8 + 1))
        outer = b"openssh-key-v1\0" + _text(b"none") * 2 + _text(b"") + struct.pack(">I", 1)
        body = base64.b64encode(outer + _text(blob) + _text(inner)).decode()
        lines = "\n".join(textwrap.wrap(body, 70))
        # Split so that scanners for committed keys do not take this line for one.
        mark = "OPENSSH PRIVATE" + " KEY-----"
        return f"-----BEGIN {mark}\n{lines}\n-----END {mark}\n"

    def _seed(self, name: str) -> bytes:
        return self._derive(f"host key {name}", 32)

    def _derive(self, info: str, length: int) -> bytes:
        return HKDF(hashes.SHA256(), length, None, info.encode()).derive(self._secret)


def _blob(seed: bytes) -> bytes:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return _text(_TYPE) + _text(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
