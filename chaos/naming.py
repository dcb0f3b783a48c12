"""Names in files that people write: a pydantic validator for each kind of ``protocol.names``."""

from __future__ import annotations

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from protocol.names import NameRule


def name_validator(rule: NameRule) -> AfterValidator:
    """A validator for texts: the value is a name of this kind."""

    def fits(value: str) -> str:
        if wrong := rule.fault(value):
            raise PydanticCustomError("name", "{text}", {"text": wrong})
        return value

    return AfterValidator(fits)
