"""Errors of shared datastores, in the form of ``lab.schema.errors``: title, why, fix, exit code."""

from __future__ import annotations

from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-ARRAY-001": (
        "The folder of the datastore is not the one that the others have",
        "Machines whose clusters share a datastore must see one and the same folder. This one has"
        " another, an empty mount point, or one that shows what others write only later.",
        "mount there what the other machines have, or name the right place: `--arrays FOLDER`",
        1,
    ),
    "KS-ARRAY-002": (
        "Locks do not hold in the folder of the datastore",
        "A lock of a VM's files keeps two hosts from running it. There a lock is refused, or not"
        " seen by another process or machine.",
        "use a file system with POSIX locks between machines: NFS 4 without `nolock`, not a plain"
        " FUSE mount",
        1,
    ),
    "KS-ARRAY-003": (
        "The folder of the datastore cannot promise that a write is durable",
        "A host answers after its write is synced. There syncing a file or a folder fails, or a"
        " file that was replaced is not whole.",
        "use a file system with fsync of files and folders, and an atomic rename",
        1,
    ),
    "KS-ARRAY-004": (
        "The folder of the datastore cannot be written",
        "It is not there, read-only, no folder, or this user may not write in it.",
        "mount it for writing, for the user that keystead runs as",
        1,
    ),
    "KS-ARRAY-005": (
        "The folder of the datastore is full",
        "No file of one MiB can be written there.",
        "make room there, or raise the quota",
        1,
    ),
    "KS-ARRAY-006": (
        "What lies in the folder of the datastore is not this lab's",
        "Another lab has its datastore there, one that was purged, or files that no lab wrote.",
        "give this lab another folder, or remove what lies there when nobody needs it",
        1,
    ),
    "KS-ARRAY-007": (
        "The folder of the datastore does not answer",
        "A call to its file system did not come back in time: its server is away.",
        "see that what is mounted there can be reached, then join again",
        1,
    ),
}
