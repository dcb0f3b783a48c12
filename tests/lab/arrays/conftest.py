"""File systems that lack something."""

from __future__ import annotations

from tests.lab.arrays.file_systems import bad_calls

__all__ = ["bad_calls"]
