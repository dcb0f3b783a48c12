"""The types of answers, for annotations: ``answers.Vm``. ``answers.pyi`` has their members.

At run time each of them is ``Answer``.
"""

from __future__ import annotations

from keystead.connection import Answer


def __getattr__(name: str) -> type[Answer]:
    if name.startswith("_"):
        raise AttributeError(name)
    return Answer
