"""Releases: how they are written, their order, and the table of what came with which."""

from __future__ import annotations

import pytest

from lab.local.explain import rule_of
from protocol.errors import InvalidArgument, NotAvailable
from protocol.releases import (
    FEATURES,
    LATEST,
    RELEASES,
    Feature,
    Release,
    check,
    format_release,
    has,
    release_of,
)


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_read_as_it_is_written(release: Release) -> None:
    assert release_of(format_release(release)) == release_of(str(release)) == release


def test_they_are_in_order() -> None:
    assert list(RELEASES) == sorted(RELEASES) and format_release(LATEST) == "8.0U3"
    assert [format_release(r) for r in RELEASES] == [
        *("7.0", "7.0U1", "7.0U2", "7.0U3", "8.0", "8.0U1", "8.0U2", "8.0U3", "9.0")
    ]


@pytest.mark.parametrize(
    "text", ["", "7", "6.7U3", "7.1", "8.0U4", "9.1", "8.0u3", "v8.0", "8.0.3"]
)
def test_what_is_none_is_refused_with_all_that_there_are(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"use one of 7\.0, 7\.0U1, .*, 9\.0$"):
        release_of(text)


@pytest.mark.parametrize("feature", Feature)
def test_each_feature_is_in_the_table_with_a_rule_and_what_older_ones_do(feature: Feature) -> None:
    since = FEATURES[feature]
    assert since.release in RELEASES[1:] and since.before.endswith(".")
    assert rule_of(since.rule) is not None
    before = RELEASES[RELEASES.index(since.release) - 1]
    assert has(since.release, feature) and not has(before, feature)
    check("it", since.release, feature)
    with pytest.raises(NotAvailable, match=f"^{feature}: not supported by it, which is"):
        check("it", before, feature)
    assert NotAvailable.fault == "NotSupported"


def test_the_table_is_in_the_order_of_releases() -> None:
    order = [since.release for since in FEATURES.values()]
    assert order == sorted(order)
