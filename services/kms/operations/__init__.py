"""The execution of requests.

- ``core``                  runs a message in a transaction, with its audit rows
- ``buffered_reads``        messages that only read, when the audit of reads is ``buffered``
- ``immediate``             a Get that needs no wait, and a Create that needs no task
- ``batches``               a message of several items
- ``execution``             each operation; of these:
- ``attribute_operations``  attributes and Locate
- ``encryption``            Encrypt and Decrypt
- ``usage``                 leases and usage limits
- ``rekey``                 Re-key
- ``release``, ``wrapping``  what a Get returns, and the key that wraps it
- ``key_creation``          new keys, and the random values that requests need
- ``shared_names``          Names that several keys have
"""
