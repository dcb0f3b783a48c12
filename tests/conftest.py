"""Tests have a state folder of their own: a lab of the person who runs them is never seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For tests that do not choose one; environments of processes begin with it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path_factory.mktemp("state-home")))
        yield
