"""What certificates somebody may have signed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signing:
    """The right to certificates, as the door gives it by which its holder came in.

    Attributes
    ----------
    by
        What is put on record as the issuer: the serial of the certificate in use,
        :data:`~skyport_core.model.BY_HUB`, :data:`~skyport_core.model.BY_SOCKET`, or nothing for
        root and the core's own user at its machine, who get certificates of all kinds, for
        anybody and for as long as they say.
    others
        Whether certificates of users may be for others.
    key
        The only public key (SubjectPublicKeyInfo, DER) that may be signed; None: any.
    """

    by: str = ""
    others: bool = False
    key: bytes | None = None

    @property
    def free(self) -> bool:
        """Whether there is no limit."""
        return not self.by
