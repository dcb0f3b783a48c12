"""Why a lab is not reached from elsewhere, in words: nobody answers, or who answers refuses."""

from __future__ import annotations

from lab.schema.errors import KeysteadError


def unreachable_error(lab: str, address: str, trouble: str) -> KeysteadError:
    """KS-AGENT-011 when somebody answered at the lab's ``address`` and refused, KS-AGENT-006 when
    nobody did; ``trouble`` is what the client has seen."""
    if unknown(trouble):
        text = f"the lab {lab} answered at {address}, and does not know the key of this file"
        return KeysteadError("KS-AGENT-011", text)
    if refused := cause(trouble):
        return KeysteadError(
            "KS-AGENT-011", f"the lab {lab} is not what is at {address}: {refused}"
        )
    why = trouble or "nobody answers"
    return KeysteadError("KS-AGENT-006", f"the lab {lab} is not reached at {address}: {why}")


def cause(trouble: str) -> str:
    """What TLS says of a stranger, in words; empty when it says nothing."""
    if "CERTIFICATE_VERIFY_FAILED" in trouble:
        return "what listens there has no certificate of this lab"
    if any(sign in trouble for sign in ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "ALERT_")):
        return "what listens there is no TLS port of a lab"
    return ""


def unknown(trouble: str) -> bool:
    """Whether a broker of the lab does not know the nkey; it was reached under the lab's TLS."""
    return "authorization" in trouble.lower()
