"""The execution of requests.

- ``core``                  runs the messages of a key server, whichever endpoint received them
- ``buffered_reads``        messages that only read, when the audit of reads is ``buffered``
- ``batches``               a message of several items
- ``execution``             executes each operation inside the transaction of its message
- ``attribute_operations``  operations on the attributes of keys, and Locate, inside the
  transaction of a message
- ``key_usage``             the use of a key that stays in the server
- ``key_creation``          creation of keys
"""
