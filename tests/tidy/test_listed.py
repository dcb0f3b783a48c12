"""Messages have handlers, error ids explanations: what is listed is there, and the other way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

from lab.schema.errors import all_ids, explanation_of
from protocol.messages.base import Event, Reply, Request, messages_of, registry
from protocol.terms import Role
from services.catalog import everything
from services.runtime.agent import Agent
from services.runtime.service import Service, list_unserved_requests
from tests.tidy.mentions import texts, unmentioned

_ID = re.compile(r"\bKS-[A-Z]+-\d{3}\b")
CATALOG = everything()
SERVICES = {str(role): cast(type[Service], entry.service) for role, entry in CATALOG.items()}
MESSAGES = {str(role): entry.messages for role, entry in CATALOG.items()}


def unlisted_ids(told: Iterable[str], known: Iterable[str]) -> list[str]:
    """Error ids that texts mention and no table explains."""
    return sorted({name for text in told for name in _ID.findall(text)} - set(known))


def test_every_request_to_a_service_has_one_handler() -> None:
    assert set(CATALOG) == set(Role)
    assert list_unserved_requests(SERVICES, MESSAGES) == []


def test_a_request_without_a_handler_is_found() -> None:
    others = {"kms": MESSAGES["vcenter"]}
    assert "kms: EncryptVm" in list_unserved_requests({"kms": SERVICES["kms"]}, others)


def test_every_request_to_an_agent_has_one_handler() -> None:
    # Its table is made before it is given a world.
    agent = Agent(None, None, lambda record: None)  # type: ignore[arg-type]
    told = messages_of("protocol.messages.agent").values()
    asked = {message for message in told if issubclass(message, Request)}
    assert agent.handlers.keys() == asked


def test_every_message_is_a_request_a_reply_or_an_event() -> None:
    kinds = (Request, Reply, Event)
    assert not [n for n, m in registry().items() if sum(issubclass(m, k) for k in kinds) != 1]


def test_every_error_that_code_names_is_explained() -> None:
    assert unlisted_ids(texts(of_tests=False), all_ids()) == []


def test_every_error_that_is_explained_can_happen() -> None:
    assert not unmentioned(all_ids(), texts(of_tests=False))


_EXIT_CODES = {
    3: "CHAOS-201",
    4: "AGENT-002 AGENT-007 RUN-002 RUN-004 TOPO-001",
    5: "AGENT-010 RUN-003",
    6: "WAIT-001",
    64: (
        "AGENT-003 KMIP-004 LAB-013 LOAD-001 LOAD-003 LOAD-005 LOAD-006 RUN-001 RUN-005 "
        "RUN-006 RUN-007 USE-001 USE-002 USE-003 USE-004 USE-005 USE-006"
    ),
    69: "AGENT-006 API-001 LAB-001 LAB-007 LAB-010 LOAD-004",
    70: "INT-001",
    74: "OUT-001",
    78: (
        "API-002 BROKER-001 SETUP-001 SETUP-002 SETUP-003 SETUP-004 SETUP-005 SETUP-006 "
        "SETUP-007 SETUP-008 SETUP-009 SETUP-010 SETUP-011 TPM-001"
    ),
}
"""Ids without KS- by exit code. Others: files of chaos have 4, runs that failed 5, the rest 1."""


def test_every_error_has_a_cause_a_fix_and_its_exit_code() -> None:
    listed = {f"KS-{name}": code for code, names in _EXIT_CODES.items() for name in names.split()}
    assert listed.keys() <= set(all_ids())
    for name in all_ids():
        found = explanation_of(name)
        assert found is not None
        assert found.title and found.why and found.fix, name
        assert not found.title.endswith("."), name
        of_chaos = 4 if name < "KS-CHAOS-1" else 5
        usual = of_chaos if name.startswith("KS-CHAOS-") else 1
        assert found.exit_code == listed.get(name, usual), name


def test_an_id_that_nothing_explains_is_found() -> None:
    stray = "KS-NEVER-" + "999"
    assert unlisted_ids([f"fail {stray} now", "KS-USE-" + "001"], all_ids()) == [stray]
