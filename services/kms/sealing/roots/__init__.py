"""Roots of a key server's keys: each kind makes a key, and finds it again at the next start.

- ``base``        what a root is, and what it may use
- ``keyfile``     a file on the server's own disk: the server starts by itself; the disk has every
  key
- ``passphrase``  an operator types it at each start: the disk alone opens nothing
- ``tpm``         sealed by the TPM under the server, which starts by itself, but only there

To add one: its file, a member of ``protocol.terms.RootKind``, a line in ``ROOTS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocol.terms import RootKind
from services.kms.sealing.roots.base import Root
from services.kms.sealing.roots.keyfile import KeyFile
from services.kms.sealing.roots.passphrase import Passphrase
from services.kms.sealing.roots.tpm import TpmRoot

ROOTS: Final[Mapping[RootKind, Root]] = {
    RootKind.KEYFILE: KeyFile(),
    RootKind.PASSPHRASE: Passphrase(),
    RootKind.TPM: TpmRoot(),
}
