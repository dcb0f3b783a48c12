"""The ways in which an end-to-end test plays its lab, and the mark of tests with real TPMs."""

from __future__ import annotations

import pytest

from services.runtime.tpm.backends import missing_for_libtpms

needs_tpm = pytest.mark.skipif(
    bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}"
)
MODES = [
    pytest.param({"mode": "sim", "tpm": "model"}, id="sim-model", marks=pytest.mark.sim),
    pytest.param(
        {"mode": "lab", "tpm": "libtpms"},
        id="lab-libtpms",
        marks=[needs_tpm, pytest.mark.lab, pytest.mark.slow],
    ),
]
