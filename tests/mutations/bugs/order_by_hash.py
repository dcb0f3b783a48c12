"""Determinism broken: keys go to a host in the order of their hashes, which the process draws.

Hashes of their texts: ``PYTHONHASHSEED`` alone decides on these, so two servers of different seeds
have the same two orders each time. In the hash of a struct there is the address of its type too,
which the kernel draws: two orders of that are the same now and then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import services.vcenter.hosts.delivery as delivery
from tests.mutations.bugs.planting import plant


def hash_of_text(item: object) -> int:
    """Fixed by ``PYTHONHASHSEED``, and by nothing else of the process."""
    return hash(str(item))


def _by_hash(original: Any) -> Any:
    def pages(items: Iterable[object], **options: Any) -> Any:
        return original(sorted(items, key=hash_of_text), **options)

    return pages


plant(delivery, "pages", _by_hash)
