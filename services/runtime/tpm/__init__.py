"""TPM devices behind the Tpm port.

- ``backends``  the available backends: ``open_device``; ``available`` and ``probe`` for ``doctor``
- ``device``    the TPM as a device of the lab
- ``base``      what every backend of a TPM shares
- ``library``   private copies of libtpms, many TPMs in one process
- ``tss``       one ESAPI context of tpm2-pytss over one engine
- ``libtpms``   the real backend: libtpms commanded through tpm2-pytss
- ``model``     the fast backend, pure Python: same return codes, real cryptography
- ``port``      the Tpm port of one life of a host, on a device that outlives it
- ``maker``     certifies the endorsement keys of a lab's TPMs
- ``virtual``   TPMs of virtual machines: a few instances; a state is loaded for one command
- ``latency``   the virtual time of a call

Nothing outside this package sees tpm2-pytss, and the package imports it only when a libtpms device
is opened.
"""
