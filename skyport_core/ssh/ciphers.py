"""AES-GCM for asyncssh's packets, with fewer copies of their bytes and fewer packets.

asyncssh sets its cipher up anew for every packet and copies the packet several times around it. It
also sends an empty packet ahead of each, a guard that only ciphers in CBC mode need. Under this
implementation these are not sent. Importing the module has asyncssh use it in this process.
"""

from __future__ import annotations

from asyncssh.constants import MSG_IGNORE
from asyncssh.encryption import Encryption, register_encryption_alg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG_SIZE = 16
FIXED_SIZE = 4
"""Bytes of the nonce that stay; the other eight count the packets (RFC 5647, section 7.1)."""

ALGORITHMS = {"aes128-gcm@openssh.com": "aes128-gcm", "aes256-gcm@openssh.com": "aes256-gcm"}
"""Names in SSH, and asyncssh's own names of the ciphers, which give it the sizes of their keys."""


class GCM(Encryption):
    """One direction of a connection under AES-GCM; see RFC 5647.

    The nonce counts the packets that are really sent, and a packet's sequence number takes no part
    in its encryption. So one may be left out without the peer noticing.
    """

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._cipher = AESGCM(key)
        self._fixed = iv[:FIXED_SIZE]
        self._count = int.from_bytes(iv[FIXED_SIZE:], "big")

    @classmethod
    def new(
        cls,
        cipher_name: str,
        key: bytes,
        iv: bytes,
        mac_alg: bytes = b"",
        mac_key: bytes = b"",
        etm: bool = False,
    ) -> GCM:
        """A new direction; what concerns MACs is not used."""
        return cls(key, iv)

    @classmethod
    def needs_mac(cls) -> bool:
        """False: the cipher authenticates by itself."""
        return False

    @classmethod
    def get_mac_params(cls, mac_alg: bytes) -> tuple[int, int, bool]:
        """Sizes of the MAC's key and of the tag, and that the length is sent in the clear."""
        return 0, TAG_SIZE, True

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """The packet as it is sent; nothing for one whose first byte after the padding's length
        says that it is to be ignored."""
        if packet[1] == MSG_IGNORE:
            return b"", b""
        return header + self._cipher.encrypt(self._nonce(), packet, header), b""

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """The first block as it came, and the length in it."""
        return first_block, first_block[:header_len]

    def decrypt_packet(
        self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes
    ) -> bytes | None:
        """The packet, or None if it is not genuine."""
        sealed = b"".join((memoryview(first)[header_len:], rest, mac))
        try:
            return self._cipher.decrypt(self._nonce(), sealed, first[:header_len])
        except InvalidTag:
            return None

    def _nonce(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % 2**64
        return nonce


for _algorithm, _cipher in ALGORITHMS.items():
    register_encryption_alg(_algorithm.encode(), GCM, _cipher, True)
