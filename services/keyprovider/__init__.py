"""The Key Provider Service of a Trust Authority host: it makes keys for attested hosts, and stores
none.

- ``service``            one handler for each message
- ``config``, ``knobs``  its settings
- ``access``             tokens, and who may send what, pure
- ``ciphertext``         the content of a ciphertext
- ``primary_key``        the primary key of a provider, from the first of its key servers that
  gives it (KPS-03, KPS-06), and the certificate with which this service asks KMIP servers
- ``configuration``      the configuration of a Key Provider Service

A new key is returned wrapped under the primary key and, sealed to the host, in clear. The primary
key is fetched for each operation and forgotten afterwards, unless the knob
``kps_primary_key_cache`` says otherwise.

Kinds of records: ``keyprovider.configured`` revision · ``keyprovider.generated`` host, provider ·
``keyprovider.decrypted`` host, provider · ``keyprovider.refused`` host, status, reason ·
``keyprovider.server_failed`` server, error · ``keyprovider.certificate`` renewed
"""
