"""Files that nobody named as a result, on a node that may tell anything of them."""

from __future__ import annotations

import asyncssh

from skyport_core.ssh.leftovers import MAX_LOOKED, Leftovers, leftovers

from .test_outputs import FILE, FOLDER, liar


def kinds(path: bytes) -> asyncssh.SFTPAttrs:
    return asyncssh.SFTPAttrs(permissions=FILE if path.endswith(b".txt") else FOLDER)


async def test_folders_without_an_end_are_left_some_time() -> None:
    async with liar(kinds=kinds, names=lambda _: [b"a.txt", b"b", b"c"]) as sftp:
        found = await leftovers(sftp, "/home/u", ())
    assert not found.whole and 0 < len(found.names) <= MAX_LOOKED


async def test_names_are_shown_as_far_as_they_can_be() -> None:
    def names(path: bytes) -> list[bytes]:
        return [b"..", b"../x.txt", b"1\n.txt", b"\xff.txt", b"known.txt"]

    async with liar(kinds=kinds, names=names) as sftp:
        found = await leftovers(sftp, "/home/u", {"known.txt"})
    assert found == Leftovers(("1?.txt", "?.txt"))
