"""The commands of a lab, served the same way by a running lab and by a simulated one.

A verb is an async function of a ``Session`` and one frozen struct of arguments; it returns
plain data, which the command line prints as table or JSON. One file per noun:

- ``table``  Session, the table of verbs    - ``look``   get, events, status   - ``describe``  why
- ``hosts``  power, esxcli, add, TPM        - ``vms``    create, encrypt, on, off
- ``keys``   key servers and providers      - ``links``  cut, delay, loss, dup; faults, heal
- ``experiments``  an experiment on this lab
"""

from lab.api import describe, experiments, hosts, keys, links, look, vms
from lab.api.table import VERBS, Session, Verb, run_verb

__all__ = [
    "VERBS",
    "Session",
    "Verb",
    "describe",
    "experiments",
    "hosts",
    "keys",
    "links",
    "look",
    "run_verb",
    "vms",
]
