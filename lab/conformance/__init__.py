"""Conformance: assertions about key persistence, each held by really doing it on a small lab.

- ``bench``       the labs of an assertion, and how one is found not to hold
- ``behind``      what is looked at and done behind the nodes' backs
- ``attesting``   the same for attestations: evidence of all kinds, brought by hand
- ``standard``    plays about a standard key provider
- ``providers``   plays about key providers: their names, their deletion, their number
- ``store``       plays about key persistence and the recovery key
- ``firmware``    plays about the TPM, and what a host boots
- ``vms``         plays about a VM's keys, recrypting and moving
- ``native``      plays about a native key provider
- ``trusted``     plays about a trusted one
- ``vsan``        plays about encrypted vSAN
- ``searches``    plays that search for keys
- ``told``        a play about the order of events
- ``healing``     a play that compares two runs
- ``grid``        the truth table
- ``assertions``  the table: id, what is asserted, the play
- ``run``         assertions played one after another
"""
