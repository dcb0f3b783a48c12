"""The page of versions is what the table of releases says."""

from __future__ import annotations

import re

from chaos.yaml_file import read_yaml
from lab.topology.lab_file import load
from protocol.releases import FEATURES, RELEASES
from tests.docs.versions_page import PAGE, page


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text() == page(), "make it anew: .venv/bin/python -m tests.docs.versions_page"


def test_every_release_and_every_feature_is_there() -> None:
    text = PAGE.read_text()
    assert all(f" {release} |" in text for release in RELEASES)
    assert all(
        f"| {feature.value} | {since.before} |" in text for feature, since in FEATURES.items()
    )


def test_its_lab_file_gives_each_host_its_version() -> None:
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    made = load({"apiVersion": "keystead/v1", "kind": "Lab", **read_yaml(found[1]).data})
    assert [[c.hosts.version_of(n) for n in range(3)] for c in made.clusters] == [
        ["7.0U3"] * 3,
        ["8.0U3", "8.0U1", "7.0U1"],
    ]
