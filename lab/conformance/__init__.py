"""Conformance: assertions about key persistence, each held by really doing it on a small lab.

- ``bench``       the labs of an assertion, how one is found not to hold, and what plays look at
  and do behind the backs of a lab's nodes (``Lab.beside``)
- ``trusted``     plays about a trusted key provider, on the lab ``trusted``, with attestations by
  hand at the consoles of a trusted host and of a service
- ``providers``   plays about standard and native key providers, about providers as vCenter has
  them (names, deletion, number), and about keys that are kept on a host, under its TPM
- ``secrecy``     plays about what guards secrets
- ``vms``         plays about encrypted VMs (their keys one by one, recrypting, moving) and about
  encrypted vSAN
- ``scenarios``   plays over a whole course
- ``assertions``  the assertions A01 to A30
"""
