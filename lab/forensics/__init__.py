"""A host's disk as somebody sees it who has it in hand.

- ``forensics``  a host's disk and TPM, looked at for persisted keys behind the host's back
"""
