"""Makes ``docs/versions.md`` out of the table of releases.

.venv/bin/python -m tests.docs.versions_page     # writes the page anew
"""

from __future__ import annotations

from pathlib import Path

from protocol.releases import FEATURES, LATEST, RELEASES, DecidingSide, format_release, has

PAGE = Path(__file__).resolve().parents[2] / "docs" / "versions.md"
HEAD = f"""\
# Versions

For labs with older releases: which releases exist, and what each can do. A Lab file names the
version of each vCenter and of each host. The default is {LATEST}.

```yaml
vcenters: [{{name: vcenter, version: "8.0U3"}}]
clusters:
  - name: cluster-a
    hosts: {{count: 3, version: "7.0U3"}}                     # all of them
  - name: cluster-b
    hosts: {{count: 3, versions: ["8.0U3", "8.0U1", "7.0U1"]}}  # the first, the second, the others
```

The releases are {", ".join(f"`{format_release(release)}`" for release in RELEASES)}.
A file is refused, with the line of the error (KS-TOPO-001), if it has

- another release;
- hosts that are newer than their vCenter;
- key persistence, or VMs of a native provider, on hosts that are too old;
- a native provider, or wrapped keys, of a vCenter that is too old for it.

A host of 9.0 does what one of {LATEST} does. A vCenter of 9.0 has [wrapped keys](wrapped-keys.md)
too, and its vSphere API is that of 9.0 ([clients of vSphere](vsphere.md)).

A vCenter manages hosts of its own release and of older ones, also in one cluster. Each host does
what its own release can do. Standard keys are on every host; older hosts are left out of the rest.
A task that needs a newer release is refused as `NotSupported`. The message says what it needs, and
since which release that exists. At an older host's console the command does not exist.

- `keystead host upgrade esxi-001 --to 8.0U3` installs a later release on a host in maintenance
  mode, and boots it.
- `keystead host rollback esxi-001` boots the other boot bank: the release before, with its
  configuration of that time (UPG-02).

A vCenter keeps its release.

This page is generated from the table in `protocol/releases.py`, which hosts and vCenter use. A test
plays each row with the release before and with the release that has it.
"""
TAIL = """
## Not built

The product has these, and the lab has them in no version:

- whether access to a host's key is granted (HEM-08), from 8.0 U3 on;
- Quick Boot (UPG-03);
- TPM 1.2;
- a TPM without SHA-256 or with another interface, and so the events
  `esx.problem.hardware.tpm2.nosha256` and `.notis`, and `.ek.provisioning` of 8.0 U3.

Before 7.0 U2 the lab writes a host's configuration as on a host without a TPM. Anyone who has the
disk can read it, as with the product.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## When each feature came", ""]
    parts += ["| release | of | feature | before it | rule |", "|---|---|---|---|---|"]
    for feature, since in FEATURES.items():
        cells = (str(since.release), since.side.value, feature.value, since.before, since.rule)
        parts.append("| " + " | ".join(cells) + " |")
    parts += ["", "## What each release can do", ""]
    parts.append("| | " + " | ".join(map(str, RELEASES)) + " |")
    parts.append("|---" * (len(RELEASES) + 1) + "|")
    for side in DecidingSide:
        for feature, since in FEATURES.items():
            if since.side is side:
                marks = ["yes" if has(release, feature) else "-" for release in RELEASES]
                parts.append(f"| {side}: {feature} | " + " | ".join(marks) + " |")
    return "\n".join(parts) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
