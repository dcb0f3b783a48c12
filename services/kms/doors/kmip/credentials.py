"""The credential in a header, judged where the server was told to want one. Pure.

| operation | without a credential | with another one |
|---|---|---|
| Discover Versions, Query, Get Attributes, Get Attribute List, Add Attribute | done | refused |
| any other | refused | refused |

The first row is what vCenter asks without its user name even where it has one: it looks at
versions, and tags keys. Certificate and role are judged in any case.
"""

from __future__ import annotations

from typing import Final

from protocol.kmip.dialect import Login
from protocol.kmip.enums import Operation
from protocol.kmip.header import UsernameAndPassword
from protocol.kmip.message import RequestMessage

_BARE: Final = frozenset(
    {
        Operation.DISCOVER_VERSIONS,
        Operation.QUERY,
        Operation.GET_ATTRIBUTES,
        Operation.GET_ATTRIBUTE_LIST,
        Operation.ADD_ATTRIBUTE,
    }
)


def refusal(message: RequestMessage, wanted: Login) -> str:
    """Why the message is not done; empty when it is."""
    authentication = message.request_header.authentication
    shown = () if authentication is None else authentication.credential
    if not shown:
        bare = all(item.operation in _BARE for item in message.batch_item)
        return "" if bare else "a user name and a password are wanted"
    for credential in shown:
        value = credential.credential_value
        if isinstance(value, UsernameAndPassword) and _is(value, wanted):
            return ""
    return "the user name or the password is another one"


def _is(value: UsernameAndPassword, wanted: Login) -> bool:
    return value.username == wanted.username and value.password == wanted.password
