"""The Key Provider Service of a Trust Authority host: it makes keys for attested hosts, and stores
none.

- ``service``   one handler for each message
- ``config``, ``knobs``  its settings
- ``access``    tokens, and who may send what, pure
- ``wrapping``  the content of a ciphertext, pure
- ``primary``   the primary key, from the provider's key servers
- ``own``       its certificate for key servers, and how it asks them: by bus or by KMIP
- ``check``     checks of a configuration, pure
- ``store``     the configuration, durable

A new key is returned wrapped under the primary key and, sealed to the host, in clear. The primary
key is fetched for each operation and forgotten afterwards, unless the knob
``kps_primary_key_cache`` says otherwise.

Kinds of records: ``keyprovider.configured`` revision · ``keyprovider.generated`` host, provider ·
``keyprovider.decrypted`` host, provider · ``keyprovider.refused`` host, status, reason ·
``keyprovider.server_failed`` server, error · ``keyprovider.certificate`` renewed
"""
