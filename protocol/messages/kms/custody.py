"""What seals the keys of a key server: its root and its KEKs."""

from __future__ import annotations

from typing import ClassVar

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import RootKind


class QueryCustody(Request["KeyCustody"], frozen=True, kw_only=True):
    """What seals the server's keys now; an operator's question."""


class KeyCustody(Reply, frozen=True, kw_only=True):
    """``root`` seals the key ring since ``since``; ``kek`` is the number of the current KEK, which
    was made at ``made_at``. Times are Unix seconds of the server's clock.

    ``keks``: how many the ring has, more than one while a rotation goes on; ``waiting`` keys are
    under another one than the current.
    """

    root: RootKind
    since: float
    kek: int
    made_at: float
    keks: int = 1
    waiting: int = 0


class RotateKek(Request["KeyCustody"], frozen=True, kw_only=True):
    """Have a KEK above number ``after`` be the current one; it is durable when this is answered,
    and keys come under it from then on, the old ones one after another.

    ``InvalidState`` when too many earlier rotations have keys to re-wrap.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    after: int


class OpenRootTransfer(Request["RootTransferOpened"], frozen=True, kw_only=True):
    """A key to which a passphrase is sealed, for one ``ChangeRoot`` of this life."""


class RootTransferOpened(Reply, frozen=True, kw_only=True):
    """``public_key``: 32 bytes of X25519, see ``protocol.crypto.transfer``."""

    public_key: bytes


class ChangeRoot(Request["KeyCustody"], frozen=True, kw_only=True):
    """Have the key ring sealed by another root; rows are not touched. At the console only.

    ``passphrase``: sealed to the key of the last ``OpenRootTransfer``, for the purpose
    ``passphrase``; empty for another kind of root. ``InvalidState`` when the root cannot be made,
    or is that one.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    root: RootKind
    passphrase: bytes = b""
