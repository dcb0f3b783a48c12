"""The pages of the site, by the four kinds and by task. One that is missing fails the build."""

from __future__ import annotations


def generated(name: str) -> str:
    """The path, in the site, of a reference page that is made of a registry."""
    return f"reference/{name}.md"


NAV: dict[str, dict[str, str] | str] = {
    "What it is": "README.md",
    "Find it": "docs/README.md",
    "Tutorials": {
        "The story": "docs/story.md",
        "Your own lab": "docs/labs.md",
        "keystead in your own tests": "docs/testing.md",
        "A sample test suite": "examples/pytest/README.md",
        "Your vSphere automation against a lab": "docs/vsphere.md",
        "A sample of vSphere automation": "examples/vsphere/README.md",
    },
    "How to": {
        "Watch a lab": "docs/watch.md",
        "Write an experiment": "docs/experiments.md",
        "Read a report": "docs/report.md",
        "Play the whole matrix": "docs/matrix.md",
        "Find faults that nobody thought of": "docs/fuzzing.md",
        "Check a key server": "docs/kmip-replay.md",
        "Run a key server": "docs/key-server.md",
        "Load a lab or a key server": "docs/load.md",
        "Run many hosts": "docs/size.md",
        "Run a lab in containers": "docs/containers.md",
        "Run a lab on several machines": "docs/machines.md",
        "Back up vCenter, install it anew": "docs/installs.md",
        "Give users roles": "docs/roles.md",
    },
    "Reference": {
        "Commands": generated("commands"),
        "Faults": generated("faults"),
        "Actions": generated("actions"),
        "Entries of a schedule": generated("entries"),
        "Selectors": generated("selectors"),
        "Operations of a workload": generated("ops"),
        "Probes": generated("probes"),
        "Checks": generated("checks"),
        "Guards": generated("guards"),
        "Errors": generated("errors"),
        "Rules": "docs/rules.md",
        "Knobs": "docs/knobs.md",
        "Glossary": "docs/glossary.md",
        "Releases of the product": "docs/versions.md",
        "KMIP": "docs/kmip.md",
        "Findings about key servers": "docs/kmip-findings.md",
        "Blocks of the matrix": "docs/blocks.md",
        "Conformance assertions": "docs/conformance.md",
        "Listeners": "docs/listeners.md",
        "Changes": "CHANGELOG.md",
    },
    "Explanation": {
        "Native key providers": "docs/native.md",
        "Wrapped keys": "docs/wrapped-keys.md",
        "Trusted key providers": "docs/trusted.md",
        "Which host gets which key": "docs/tenancy.md",
        "Key servers that replicate": "docs/replication.md",
        "Other keys for a VM": "docs/recrypt.md",
        "Virtual TPMs": "docs/vtpm.md",
        "Encrypted vSAN": "docs/vsan.md",
        "Hosts that fail": "docs/ha.md",
        "VMs that move": "docs/mobility.md",
        "What carries the messages": "docs/bus.md",
        "What requests cost": "docs/performance.md",
        "Capacity": "docs/capacity.md",
        "Who notices a broken line": "docs/breakage.md",
        "What the matrix must notice": "docs/matrix-mutations.md",
        "The crash sweep": "docs/crash-sweep.md",
        "Architecture": "ARCHITECTURE.md",
        "Two operations, file by file": "docs/tour.md",
        "Security": "SECURITY.md",
        "Contributing": "CONTRIBUTING.md",
        "Decisions": "docs/decisions/README.md",
    },
}


def all_pages() -> list[str]:
    """Every page by its path in the checkout or, of a generated one, in the site."""
    parts = [part if isinstance(part, dict) else {"": part} for part in NAV.values()]
    return [page for part in parts for page in part.values()]
