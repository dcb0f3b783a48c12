"""``keystead bench``: how fast and how small, measured on the machine it runs on.

No part of the product: ``lab.state.checkout`` finds it in a checkout, and no wheel holds it.

- ``command``     ``keystead bench``: which run, how their figures are shown
- ``benchmark``   what a benchmark is: name, measure, unit, bar, ``run``
- ``order``       all of them, in the order in which they run
- ``machine``     the machine described, for the report
- ``runner``      repeats, minimum, median and maximum, what could not run
- ``staging``     a folder, and a lab in which the benchmark itself speaks as vCenter
- ``experiment``  an experiment in virtual time
- ``startup``     a lab of real processes from nothing to ready
- ``memory``      what a process of a service takes
- ``roundtrips``  requests over the broker, beside a bare client; ``echo`` is its other end
- ``raw``         the least that such a request can cost
- ``keys``        keys derived, and wrapped
- ``kmip``        the codec of KMIP: its speed, and a million disturbed messages
- ``kmip_server``  a key server over KMIP, and PyKMIP's beside it
- ``kmip_client``  what asks it, at little cost
- ``load``        what the generator of a load costs itself
- ``creations``   durable keys from a key server
- ``keyserver``   a key server with many keys: opened, and looked through
- ``boot``        a host's boot with a full key store
- ``attestation`` attestations of hosts with real TPMs
- ``vsphere``  the API server of vSphere in front of many VMs; ``vsphere_server`` is its process
- ``suite``       the project's own tests: named here, measured by running them
- ``scale``       what a lab costs as it grows: a package of its own, run when it is asked for

Add a benchmark: one file with one class, and its line in ``order``. Nothing here fails on a
time: a bar is shown beside the figure.
"""
