"""The credential in a header, judged where the server was told to want one. Pure.

| operation | without a credential | with another one |
|---|---|---|
| Discover Versions, Query, Get Attributes, Get Attribute List | done | refused |
| Add Attribute of a name that begins with ``x-`` | done | refused |
| any other | refused | refused |

The first rows are what vCenter asks without its user name even where it has one: it looks at
versions, and tags keys. Other attributes change what a key is good for, such as its dates.
Certificate and role are judged in any case.
"""

from __future__ import annotations

from typing import Final

from protocol.kmip.dialect import Login
from protocol.kmip.enums import Operation
from protocol.kmip.header import UsernameAndPassword
from protocol.kmip.message import RequestItem, RequestMessage
from protocol.kmip.payloads import AddAttributeRequest

_BARE: Final = frozenset(
    {
        Operation.DISCOVER_VERSIONS,
        Operation.QUERY,
        Operation.GET_ATTRIBUTES,
        Operation.GET_ATTRIBUTE_LIST,
    }
)
_TAG: Final = "x-"
"""The begin of names that a client makes up (KMIP 1.4 section 3.39)."""


def refusal(message: RequestMessage, wanted: Login) -> str:
    """Why the message is not done; empty when it is."""
    authentication = message.request_header.authentication
    shown = () if authentication is None else authentication.credential
    if not shown:
        bare = all(item.operation in _BARE or _tags(item) for item in message.batch_item)
        return "" if bare else "a user name and a password are wanted"
    for credential in shown:
        value = credential.credential_value
        if isinstance(value, UsernameAndPassword) and _is(value, wanted):
            return ""
    return "the user name or the password is another one"


def _tags(item: RequestItem) -> bool:
    payload = item.request_payload
    return isinstance(payload, AddAttributeRequest) and payload.attribute.attribute_name.startswith(
        _TAG
    )


def _is(value: UsernameAndPassword, wanted: Login) -> bool:
    return value.username == wanted.username and value.password == wanted.password
