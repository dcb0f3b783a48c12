"""The emulated product: independent asyncio services that meet only in the catalog.

- ``runtime``  ports, drivers, and the node that gives a service its life
- ``kms``      KMIP key server          - ``vcenter``  inventory, providers, key push
- ``attestation``, ``keyprovider``  the two services of a Trust Authority host
- ``keyservers``  the client of key servers, by bus or KMIP, of those who ask them
- ``esxi``     a host: measured boot, sealed configuration, key cache, persistence, VMs
- ``catalog``  role -> service class     - ``knobs``    the knobs of all of them in one table
"""
