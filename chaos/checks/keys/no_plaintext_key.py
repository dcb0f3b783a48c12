"""No key lies in clear on the bus, on a disk, in a database, a log, what a process shows, or the
history and report of the run, in whatever form it could be written.

Reads the ``scan`` state of a run that was asked for one (``--scan``): a search for every key that
any node ever held. A planted canary has to be found in each sort of place.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def no_plaintext_key(records: Sequence[Record]) -> Finding:
    """Pass when nothing but the canary was found. Unknown without a scan, and for a scan that kept
    no keys, did not have all traffic, or did not find its canary in every sort of place."""
    scans = [r for r in records if r.type == "state" and r.op == "scan"]
    if not scans:
        return Finding(CheckOutcome.UNKNOWN, "nothing was searched: --scan asks for it")
    scan = scans[-1]
    found = scan.data.get("findings", [])
    if found:
        texts = [
            f"{one['secret']} ({one['form']}) in the {one['kind']} {one['name']} at {one['offset']}"
            for one in found[:5]
        ]
        more = len(found) - len(texts) + scan.data.get("more", 0)
        text = "; ".join(texts) + (f"; and {more} more" if more else "")
        return Finding(CheckOutcome.FAIL, text, (scan.seq,))
    if "reason" in scan.data:
        return Finding(CheckOutcome.UNKNOWN, str(scan.data["reason"]))
    if scan.data.get("missing"):
        return Finding(CheckOutcome.UNKNOWN, str(scan.data["missing"]))
    places, keys = scan.data.get("places", {}), scan.data.get("keys", 0)
    blind = sorted(set(places) - set(scan.data.get("canary", [])))
    if blind or not places:
        where = ", ".join(blind) or "any place"
        return Finding(CheckOutcome.UNKNOWN, f"the canary was not found in {where}")
    if not scan.data.get("kept") or not keys:
        return Finding(CheckOutcome.UNKNOWN, "no key was known to search for")
    text = f"{keys} keys in none of {sum(places.values())} places of {len(places)} sorts"
    return Finding(CheckOutcome.PASS, text)
