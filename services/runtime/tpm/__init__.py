"""TPM devices behind the Tpm port.

Map:

- ``backends`` which are there, and the device that one of them makes: ``open_device``,
  ``available`` and ``probe`` for the lab and ``doctor``.
- ``device``   ``TpmDevice``: the thing itself, which outlives a host's lives.
- ``nv``       what holds a TPM's permanent state, and its image in memory.
- ``base``     what every backend shares: power, its lock, its NV image, the lab's commands.
- ``checks``   what every backend refuses before it asks its TPM.
- ``library``  private copies of libtpms, many TPMs in one process.
- ``tss_crypto``  the TSS's end of a session: hashes, HMACs, ECDH, AES.
- ``tss``      one ESAPI context of tpm2-pytss: handles, sessions, templates.
- ``libtpms``  the real backend: libtpms commanded through tpm2-pytss.
- ``model``    the fast backend, pure Python: same return codes, real cryptography.
- ``port``     ``TpmPort``: the Tpm port of one incarnation.
- ``maker``    who certifies the endorsement keys of a lab's TPMs.
- ``pool``     how a port runs a device's blocking calls: in threads (lab) or inline (sim).
- ``virtual``  TPMs of virtual machines: a few pooled instances, states loaded for one command.
- ``latency``  what a call takes in virtual time.

Nothing outside this package sees tpm2-pytss, and nothing in it is imported from there before a
libtpms device is opened.
"""
