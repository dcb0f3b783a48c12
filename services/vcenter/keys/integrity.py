"""The integrity check at each start of vCenter: whether its encrypted secrets still open.

Key derivation keys of native providers, private keys for key servers and passwords of users there
are in the inventory under vCenter's own key (``providers.symkey``). A check is one event: passed,
or failed for each provider with a secret that does not open. Without any secret there is no event.

The product has both events and does not document when it raises them; this is the lab's reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from protocol.errors import InvalidState
from protocol.events import EventTypeId
from services.vcenter.events import EventDraft
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.tables import ProviderRow


def integrity_check(rows: Iterable[ProviderRow], providers: ProviderRegistry) -> list[EventDraft]:
    """The events of a check of these providers' secrets."""
    checked, failed = 0, []
    for row in rows:
        found: list[str] = []
        if row.native is not None:
            checked += 1
            with _collect_failures(found):
                providers.native.kdk(row)
        if row.client is not None:
            checked += 1
            with _collect_failures(found):
                providers.certificates.identity(row)
        for server in row.servers:
            if server.user_name:
                checked += 1
                with _collect_failures(found):
                    providers.logins.login(row, server)
        if found:
            text = f"Integrity check failed: {'; '.join(found)}"
            event = EventTypeId.CRYPTO_INTEGRITY_CHECK_FAILED
            failed.append(EventDraft(event=event, text=text, provider=row.name))
    if failed or not checked:
        return failed
    text = f"Integrity check passed: {checked} secrets of key providers open"
    return [EventDraft(event=EventTypeId.CRYPTO_INTEGRITY_CHECK_PASSED, text=text)]


@contextmanager
def _collect_failures(found: list[str]) -> Iterator[None]:
    """Collects the reasons why secrets do not open."""
    try:
        yield
    except InvalidState as error:
        found.append(str(error))
