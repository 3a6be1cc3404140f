"""Xet storage for the fake Hub: hands out `casUrl: local://FOLDER`, so the real hf_xet uploads into a folder."""

from __future__ import annotations

import struct
from pathlib import Path

from .hub import HubServer

_HEADER = _ENTRY = 48
_HAS_VERIFICATION, _HAS_METADATA = 0x8000_0000, 0x4000_0000
_BOOKEND = b"\xff" * 32


def enable(server: HubServer, folder: Path) -> None:
    """Let large files arrive by Xet; the client must run without HF_HUB_DISABLE_XET."""
    server.hub.xet_folder = folder
    server.hub.xet = lambda sha256: uploaded(folder).get(sha256)


def uploaded(folder: Path) -> dict[str, tuple[str, int]]:
    """sha256 -> (Xet file hash, bytes), read from the shards that hf_xet wrote below `folder`.

    A shard starts with a 48-byte header; each file follows as a 48-byte entry (hash, flags, number of segments), its
    segments, one verification entry a segment, and a metadata entry that holds the sha256; a bookend ends the section.
    """
    found = {}
    for shard in folder.rglob("*.mdb"):
        data, at = shard.read_bytes(), _HEADER
        while at + _ENTRY <= len(data) and data[at : at + 32] != _BOOKEND:
            file_hash = _hex(data[at : at + 32])
            flags, segments = struct.unpack("<II", data[at + 32 : at + 40])
            at += _ENTRY
            size = sum(struct.unpack_from("<I", data, at + _ENTRY * n + 36)[0] for n in range(segments))
            at += _ENTRY * segments * (2 if flags & _HAS_VERIFICATION else 1)
            if flags & _HAS_METADATA:
                found[_hex(data[at : at + 32])] = (file_hash, size)
                at += _ENTRY
    return found


def _hex(data: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", data))
