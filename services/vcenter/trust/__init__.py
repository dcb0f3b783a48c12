"""Trust Authority in vCenter: the side that administers one, and the side that uses one.

- ``handlers``   thin handlers, each behind TrustedAdmins (TA-04)
- ``authority``  at the Trust Authority vCenter: what all services are to have, durable, pushed
- ``changes``    what an administrator's task makes of it, pure
- ``health``     each item, compared over all services (HLT-01), pure
- ``clusters``   at the workload vCenter: services information, trusted clusters, remediation
- ``roles``      which of both a cluster is, pure
- ``watch``      how trusted providers are served, asked through hosts (HLT-06)
- ``judgement``  desired against applied, and what is told of attestation, pure

vCenter has no key of a trusted provider, and is on no key's path (TA-06).
"""
