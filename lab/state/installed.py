"""Versions of what is installed here: of packages, and of keystead itself."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

_TREE: Final = Path(__file__).resolve().parents[2]


def version_of(package: str) -> str | None:
    """The version of an installed package; None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def keystead_version() -> str | None:
    """The version of keystead, also of a checkout that is not installed; None where neither is."""
    installed = version_of("keystead")
    if installed is not None:
        return installed
    try:
        with (_TREE / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    except (OSError, KeyError):
        return None
