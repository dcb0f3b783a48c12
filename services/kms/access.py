"""Who may do what. Pure.

1. Who is not registered may do nothing, not even probe: Permission Denied.
2. A caller sees the keys of its scope, and single keys that were granted to its scope; any other
   key is Item Not Found, whatever was asked of it, so a stranger's key and no key look alike.
3. A key that is seen, but an operation that the role lacks: Permission Denied. Requests about
   no single key (Create, Locate, lists) are judged by the role alone.
4. ``client`` creates, gets, reads and adds attributes, activates, locates: what vCenter does;
   it checks how a key may be used, and has it lent.
   ``operator`` creates, registers, activates, revokes, destroys, locates, reads and changes
   attributes, reads the audit trail, has the KEK rotated, and never gets or uses material.
   ``owner`` does with the keys of its scope all that KMIP has. ``kps`` gets keys and reads
   attributes: the primary keys of its scope. ``vsan``, a host, does the same with the keys of its
   datastore. ``peer`` replicates, keys of every scope, and does nothing else.
5. A grant is an attribute of a key, ``GRANTED_SCOPE``, that names another scope; whoever may add an
   attribute to the key may grant it. It lets callers of that scope get the key, as their role may,
   read its attributes and grant it on, and lets them change nothing else. Locate does not find it.
6. The administrator at the server's own console is an operator of every scope, and nobody else has
   another root seal the keys, or says who comes through the door of KMIP.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.errors import ItemNotFound, PermissionDenied, ProductError
from protocol.terms import NodeName
from services.kms import attributes
from services.kms.config import KmsConfig, KmsRole
from services.kms.keyrow import KeyRow
from services.kms.operations import Operation

_ASKED: Final = {Operation.DISCOVER_VERSIONS, Operation.QUERY}
_MATERIAL: Final = {
    Operation.GET,
    Operation.ENCRYPT,
    Operation.DECRYPT,
    Operation.GET_USAGE_ALLOCATION,
}
_CONSOLE: Final = {
    Operation.CHANGE_ROOT,
    Operation.TRUST,
    Operation.DISTRUST,
    Operation.MOVE_IDENTITY,
    Operation.REJECT,
    Operation.END_REJECTION,
    Operation.CUT_TRAIL,
}
_GRANTED: Final = {
    Operation.GET,
    Operation.GET_ATTRIBUTES,
    Operation.GET_ATTRIBUTE_LIST,
    Operation.CHECK,
    Operation.OBTAIN_LEASE,
    Operation.ADD_ATTRIBUTE,
}
"""What may be done to a key of another scope that was granted."""
_SERVERS: Final = {
    Operation.SERVE,
    Operation.REPLICATE,
    Operation.ACCEPT_ROLLBACK,
    Operation.RESTORE,
    Operation.RETIRE_KEK,
    Operation.ADMIT,
    Operation.DATE_REACHED,
}
_ROLES: Final[dict[KmsRole, frozenset[Operation]]] = {
    KmsRole.CLIENT: frozenset(
        {
            Operation.DISCOVER_VERSIONS,
            Operation.QUERY,
            Operation.CREATE,
            Operation.GET,
            Operation.GET_ATTRIBUTES,
            Operation.GET_ATTRIBUTE_LIST,
            Operation.ADD_ATTRIBUTE,
            Operation.ACTIVATE,
            Operation.LOCATE,
            Operation.CHECK,
            Operation.OBTAIN_LEASE,
        }
    ),
    KmsRole.OPERATOR: frozenset(Operation) - _MATERIAL - _SERVERS,
    KmsRole.OWNER: frozenset(Operation)
    - _SERVERS
    - _CONSOLE
    - {Operation.ROTATE_KEK, Operation.QUERY_AUDIT},
    KmsRole.KPS: frozenset(_ASKED | {Operation.GET, Operation.GET_ATTRIBUTES}),
    KmsRole.VSAN: frozenset(_ASKED | {Operation.GET, Operation.GET_ATTRIBUTES}),
    KmsRole.PEER: frozenset({Operation.REPLICATE}),
}


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the audit trail names it (``who``).

    ``role`` None: not registered. ``scope``: where its new keys go, and whose keys it sees unless
    ``every_scope``.
    """

    who: str
    role: KmsRole | None
    scope: str
    every_scope: bool = False

    def owns(self, row: KeyRow) -> bool:
        """Whether the key is of this caller's scope."""
        return self.every_scope or row.scope == self.scope

    def sees(self, row: KeyRow) -> bool:
        """Whether the key is there for this caller (rule 2)."""
        return self.owns(row) or self.scope in attributes.granted_scopes(row)


def caller_at(config: KmsConfig, node: NodeName, *, local: bool) -> Caller:
    """The caller that the door proved to be ``node``; ``local``: at the server's own console."""
    if local:
        return Caller(f"local/{node}", KmsRole.OPERATOR, config.local_scope, every_scope=True)
    grant = config.identities.get(node)
    if grant is None:
        return Caller(node, None, "")
    return Caller(node, grant.role, grant.scope, every_scope=grant.role is KmsRole.PEER)


def refuse(caller: Caller, *operations: Operation) -> ProductError | None:
    """None when the role has all ``operations``, else the error (rules 1, 3, 4 and 6)."""
    if caller.role is None:
        return PermissionDenied(f"{caller.who} is not registered at this key server")
    for operation in operations:
        if operation not in _ROLES[caller.role]:
            return PermissionDenied(f"{caller.who} ({caller.role}) may not {operation}")
        if operation in _CONSOLE and not caller.every_scope:
            return PermissionDenied(f"{caller.who} is not at the server's console: {operation}")
    return None


def absent(caller: Caller) -> ProductError:
    """The error for a key that is not there, or is not this caller's to see (rules 1 and 2)."""
    return refuse(caller) or ItemNotFound()


def refuse_key(caller: Caller, operation: Operation, row: KeyRow) -> ProductError | None:
    """None when ``operation`` may be done to the key, else the error."""
    if caller.role is None or not caller.sees(row):
        return absent(caller)
    if operation not in _GRANTED and not caller.owns(row):
        return PermissionDenied(f"the key was granted to {caller.who}, not to {operation}")
    return refuse(caller, operation)
