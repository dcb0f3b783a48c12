"""Print a software bill of materials of this image: CycloneDX 1.6, JSON.

It lists the Debian packages that dpkg knows and the Python distributions of the environment that
runs this program. Hashes of the Python wheels stand in requirements.lock. ``Containerfile`` calls
it last, so that the list is that of the finished image.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any
from urllib.parse import quote

_DPKG = ("dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n")


def describe_image(debian: str, python: Iterable[metadata.Distribution]) -> dict[str, Any]:
    """The bill: ``debian`` holds a line "name version architecture" for each installed package."""
    components = [_debian_component(*line.split()) for line in debian.splitlines()]
    components += [_python_component(distribution) for distribution in python]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "keystead"}},
        "components": sorted(components, key=lambda component: component["purl"]),
    }


def _debian_component(name: str, version: str, architecture: str) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _python_component(distribution: metadata.Distribution) -> dict[str, Any]:
    name, version = distribution.metadata["Name"], distribution.version
    purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"
    component = {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
    licences = distribution.metadata.get_all("License-Expression") or []
    return component | ({"licenses": [{"expression": licences[0]}]} if licences else {})


if __name__ == "__main__":
    packages = subprocess.run(_DPKG, check=True, capture_output=True, text=True).stdout
    json.dump(describe_image(packages, metadata.distributions()), sys.stdout, indent=1)
