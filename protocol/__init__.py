"""What the services say to each other, and the mathematics that they share. No I/O at all.

- ``terms``            names and enumerations, spelled as in vim25, KMIP and TCG
- ``names``            names that people give
- ``printable``        text from outside, made safe to show
- ``pages``            lists cut into pages that fit a message
- ``secret``           ``KeyMaterial``: redacted, compared in constant time, never encoded in clear
- ``errors``           the registry of errors that travel, each with *definite?* and its vSphere
  fault
- ``codec``            structs to msgpack and back, with full validation, and the envelope that
  surrounds a message on the data bus; nothing else crosses the wire
- ``subjects``         subjects of directed links, and which node may use them
- ``messages``         one struct per request, reply and event
- ``events``           the product's event ids
- ``guest``            what a guest's disk blocks contain
- ``guest_tpm``        what a guest does with its virtual TPM, and how its answer is checked
- ``authorization``    privileges, and the first user
- ``attributes``       values of KMIP attributes
- ``wrapped_keys``     the id of a wrapped key, and the key in it
- ``scopes``           which vCenters and hosts may get a key of the key servers
- ``trust``            what the parties of a Trust Authority share
- ``service_records``  how a list of its services is checked
- ``releases``         the releases of vSphere, and the features of each
- ``vsan``             vSAN encryption: configuration, disk groups, components
- ``kmip``             KMIP's own wire: TTLV, and its messages as structs
- ``crypto``           sealing to a receiver, key wrapping, derivation, disk blocks
- ``tpm``              policy digests, event log, quote verification, structures
"""
