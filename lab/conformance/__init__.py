"""Conformance: assertions about key persistence, each held by really doing it on a small lab.

- ``bench``       the labs of an assertion, and how one is found not to hold
- ``standard``    plays about a standard key provider
- ``store``       plays about key persistence and the recovery key
- ``native``      plays about a native key provider
- ``vsan``        plays about encrypted vSAN
- ``assertions``  the table: id, what is asserted, the play or what it needs
- ``run``         assertions played one after another    - ``standing`` what came of one
"""
