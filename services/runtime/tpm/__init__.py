"""TPM devices behind the Tpm port.

- ``backends``  the available backends: ``open_device``; ``available`` and ``probe`` for ``doctor``
- ``device``    ``TpmDevice``: the TPM itself, which outlives a host's lives
- ``nv``        where a TPM's permanent state is stored, and an image in memory
- ``base``      what all backends share: power, lock, NV image, the lab's commands
- ``checks``    what every backend refuses before it calls its TPM
- ``library``   private copies of libtpms, many TPMs in one process
- ``tss_crypto``  the TSS's end of a session: hashes, HMACs, ECDH, AES
- ``tss``       one ESAPI context of tpm2-pytss: handles, sessions, templates
- ``libtpms``   the real backend: libtpms commanded through tpm2-pytss
- ``model``     the fast backend, pure Python: same return codes, real cryptography
- ``port``      ``TpmPort``: the Tpm port of one incarnation
- ``maker``     certifies the endorsement keys of a lab's TPMs
- ``pool``      how a port runs a device's blocking calls: in threads (lab) or inline (sim)
- ``virtual``   TPMs of virtual machines: a few instances; a state is loaded for one command
- ``latency``   the virtual time of a call

Nothing outside this package sees tpm2-pytss, and the package imports it only when a libtpms device
is opened.
"""
