"""Trust Authority in vCenter: the side that administers one, and the side that uses one.

- ``handlers``   thin handlers, each behind TrustedAdmins (TA-04)
- ``authority``  at the Trust Authority vCenter: what all services are to have, durable, pushed
- ``changes``    what a task of an administrator makes of a Trust Authority's configuration, and
  which clusters may have one
- ``health``     each item, compared over all services (HLT-01), pure
- ``clusters``   the workload vCenter
- ``judgement``  desired against applied, and what is told of attestation, pure

vCenter has no key of a trusted provider, and is on no key's path (TA-06).
"""
