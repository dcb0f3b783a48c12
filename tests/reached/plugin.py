"""pytest's side: every process of a run notes what it reaches; the end of a whole run is judged.

A whole run is ``./keystead test`` or ``./keystead test --all``: no path, no ``-k``, no ``--lf``.
Without slow tests it is not told of what a slow test may reach: whatever the text of a test names.
Of one in which tests have failed it is told all the same: what they would have reached stands there
too.
Workers of xdist are processes like any other and judge nothing.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.reached import registries
from tests.reached.site import sitecustomize
from tests.runner.__main__ import ALL, QUICK

_SITE = Path(__file__).parent / "site"


def begin(config: pytest.Config) -> None:
    """Have this process, and all that it starts, note what they reach."""
    if sitecustomize.REACHED not in os.environ:
        handle, path = tempfile.mkstemp(prefix="keystead-reached-")
        os.close(handle)
        os.environ[sitecustomize.REACHED] = path
        path_before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_SITE), path_before]))
        config.add_cleanup(lambda: Path(path).unlink(missing_ok=True))
    sitecustomize.install()


def end(session: pytest.Session) -> list[str]:
    """What a whole run has not reached; nothing for a part of one, and for a worker's."""
    config = session.config
    if hasattr(config, "workerinput") or not _whole(session):
        return []
    lines = Path(os.environ[sitecustomize.REACHED]).read_text().splitlines()
    reached = {(kind, name) for kind, _, name in (line.partition(" ") for line in lines)}
    if _without_slow(config):
        named = registries.named(Path(__file__).parent.parent)
        reached |= named - registries.OUT_OF_REACH.keys()
    return registries.complaints(registries.everything(), reached, registries.OUT_OF_REACH)


def _whole(session: pytest.Session) -> bool:
    config = session.config
    return (
        config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and not config.option.keyword
        and config.option.markexpr in (QUICK, ALL)
        and not config.option.lf
        and not config.option.changed
    )


def _without_slow(config: pytest.Config) -> bool:
    """Whether slow tests, or a part of them, are left out."""
    return config.option.markexpr == QUICK or config.option.share is not None
