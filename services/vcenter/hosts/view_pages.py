"""A host's view of itself, put together from its pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from protocol.errors import NotConnected
from protocol.messages.host import HostSummary
from protocol.terms import VmName


async def whole_view(
    page: HostSummary, next_page: Callable[[VmName], Awaitable[HostSummary]]
) -> HostSummary:
    """The view that begins with ``page``, with the VMs for which the message had no room.

    ``next_page`` asks for the VMs after one. What is not of VMs is as the last page says.
    ``NotConnected`` when the host booted, or got another session, between two pages: they are of
    two lives.
    """
    first, vms = page, list(page.vms)
    while page.more_vms:
        page = await next_page(vms[-1].vm)
        if (page.boot, page.session) != (first.boot, first.session):
            raise NotConnected(f"{first.host} is connected anew while it tells of its VMs")
        vms += page.vms
    return page if page is first else msgspec.structs.replace(page, vms=tuple(vms))
