"""vCenter's flow against any key server, without a lab (``keystead kmip replay``).

- ``running``              a replay from addresses and credentials to its report
- ``trust``                the phase *trust*: the server is added to a provider, its certificate is
  judged, and others than vCenter get nothing
- ``flow``                 the phase *flow*: keys as vCenter has them made, tagged, used, and
  fetched again
- ``failover``             the servers of one provider among each other
- ``isolation_and_storm``  the phase *isolation*: a client does not see the keys of another one
- ``servers``              the key servers of a replay and its clients; single connections that
  show what a server lets pass, also with certificates that it should not accept
- ``trust_flows``          the ways in which vCenter has a key server trust it (STD-04), each with
  an identity of its own, and certificates that a person gives for others than vCenter
  (``ROLE=CERT,KEY``)
- ``journal``              what is written down of a replay while it is played
- ``page``                 the report as HTML; ``junit`` for pipelines
- ``findings``             levels, single findings, and the verdict; ``kinds``: all there are
- ``reporting``            the report of a replay, from its journal; the same as JUnit XML
"""
