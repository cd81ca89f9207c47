"""Keeps secrets unreadable at rest, and tells equal submissions from different ones."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ..wire import JobRequest, JobSecrets
from .errors import DatabaseUnusable, WrongSecretKey

THREAD_SCRIPT = 2**16
"""Characters from which on the fingerprint of a submission is made in a thread."""


def keyring(secret_key: bytes | MultiFernet) -> MultiFernet:
    """The keys as one object.

    Parameters
    ----------
    secret_key : bytes or MultiFernet
        A Fernet key (32 bytes, URL-safe base64), or several: the first encrypts, all decrypt.

    Raises
    ------
    DatabaseUnusable
        The bytes are no Fernet key.
    """
    if isinstance(secret_key, MultiFernet):
        return secret_key
    try:
        return MultiFernet([Fernet(secret_key)])
    except ValueError as error:
        raise DatabaseUnusable(
            "The secret key is not 32 bytes in URL-safe base64; make one with"
            " cryptography.fernet.Fernet.generate_key()."
        ) from error


class Vault:
    """Encrypts with Fernet; digests with a random key that is itself kept encrypted.

    The digest's key is not one of the Fernet keys, so that these can be rotated without making
    every stored submission look different.
    """

    def __init__(self, keys: MultiFernet, sealed_digest_key: str) -> None:
        self._keys = keys
        try:
            self._digest_key = keys.decrypt(sealed_digest_key.encode())
        except InvalidToken as error:
            raise WrongSecretKey(
                "The database was written under another secret key. Start with the key file that"
                " belongs to it, or with an empty database."
            ) from error

    @staticmethod
    def new_digest_key(keys: MultiFernet) -> str:
        """A fresh key for digests, encrypted."""
        return keys.encrypt(secrets.token_bytes(32)).decode()

    async def seal(self, content: JobSecrets) -> bytes:
        """Encrypt. Off the event loop: files may be large."""
        return await asyncio.to_thread(
            lambda: self._keys.encrypt(content.model_dump_json(exclude_defaults=True).encode())
        )

    async def unseal(self, token: bytes) -> JobSecrets:
        """Decrypt what :meth:`seal` made; WrongSecretKey if its key is not among ours."""
        try:
            text = await asyncio.to_thread(self._keys.decrypt, token)
        except InvalidToken as error:
            raise WrongSecretKey(
                "The secrets of a job were written under another secret key, or were damaged."
            ) from error
        return JobSecrets.model_validate_json(text)

    async def seal_text(self, text: str) -> bytes:
        """Encrypt a text. Off the event loop: it may be large."""
        return await asyncio.to_thread(lambda: self._keys.encrypt(text.encode()))

    async def unseal_texts(self, tokens: Sequence[bytes]) -> list[str]:
        """Decrypt what :meth:`seal_text` made; WrongSecretKey if a key is not among ours."""

        def decrypt() -> list[str]:
            return [self._keys.decrypt(token).decode() for token in tokens]

        try:
            return await asyncio.to_thread(decrypt)
        except InvalidToken as error:
            raise WrongSecretKey(
                "What a gate remembers was written under another secret key, or was damaged."
            ) from error

    async def digest(self, owner: str, request: JobRequest) -> str:
        """A keyed fingerprint of a whole submission.

        Values that equal the schema's defaults are left out, so that a field added by a later
        release does not make a repeated submission look different.
        """
        if request.files or _length(request) > THREAD_SCRIPT:
            return await asyncio.to_thread(self._digest, owner, request)
        return self._digest(owner, request)

    def _digest(self, owner: str, request: JobRequest) -> str:
        content = request.model_dump(mode="json", exclude_defaults=True)
        content.pop("owner", None)
        secrets = {name: content.pop(name) for name in JobSecrets.model_fields if name in content}
        script = content.pop("script", None)
        parts = [owner, content, secrets, *([] if script is None else [script])]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._digest_key, text.encode(), hashlib.sha256).hexdigest()


def _length(request: JobRequest) -> int:
    """Characters of what can be long in a submission."""
    tables = (request.variables, request.environment, request.environment_templates)
    texts = [request.script or "", *request.command, *request.arguments]
    return sum(map(len, texts)) + sum(sum(map(len, table.values())) for table in tables)
