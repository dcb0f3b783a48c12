"""Errors of shared datastores, in the form of ``lab.schema.errors``: title, why, fix, exit code."""

from __future__ import annotations

from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-ARRAY-001": (
        "The folder of the datastore differs from that of other machines",
        "Machines whose clusters share a datastore must see the same folder. This machine has"
        " another one, an empty mount point, or sees the writes of others only later.",
        "mount the folder of the other machines there, or name the right one: `--arrays FOLDER`",
        1,
    ),
    "KS-ARRAY-002": (
        "Locks do not hold in the folder of the datastore",
        "A lock on a VM's files keeps two hosts from running it. This file system refuses a lock,"
        " or another process or machine does not see it.",
        "use a file system with POSIX locks between machines: NFS 4 without `nolock`, not a plain"
        " FUSE mount",
        1,
    ),
    "KS-ARRAY-003": (
        "The folder of the datastore cannot promise that a write is durable",
        "A host answers after its write is synced. On this file system a sync of a file or folder"
        " fails, or a replaced file is not whole.",
        "use a file system with fsync of files and folders, and an atomic rename",
        1,
    ),
    "KS-ARRAY-004": (
        "The folder of the datastore cannot be written",
        "It is missing, read-only or not a folder, or this user may not write to it.",
        "mount it so that the user of keystead can write to it",
        1,
    ),
    "KS-ARRAY-005": (
        "The folder of the datastore is full",
        "No file of one MiB can be written there.",
        "free space there, or raise the quota",
        1,
    ),
    "KS-ARRAY-006": (
        "The folder of the datastore has files of others",
        "It has the datastore of another lab or of a purged one, or files that no lab wrote.",
        "give this lab another folder, or remove the files if nobody needs them",
        1,
    ),
    "KS-ARRAY-007": (
        "The folder of the datastore does not answer",
        "A call to its file system did not return in time: its server may be down.",
        "check that the mounted server can be reached, then join again",
        1,
    ),
}
