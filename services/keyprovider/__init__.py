"""The Key Provider Service of a Trust Authority host: keys for attested hosts, and it keeps none.

- ``service``   one handler for each message       - ``config``, ``knobs``  its settings
- ``access``    tokens, and who may send what, pure   - ``wrapping``  what is in a ciphertext, pure
- ``primary``   the primary key, from the provider's key servers
- ``own``       its certificate at these, and how they are asked: by bus or by KMIP
- ``check``     whether a configuration makes sense, pure   - ``store``  the configuration, durable

A key that it has made leaves it in the answer, wrapped under the primary key and, sealed, in clear.
The primary key is fetched for each operation and forgotten after it, unless the knob
``kps_primary_key_cache`` says otherwise.

Kinds of records: ``keyprovider.configured`` revision · ``keyprovider.generated`` host, provider ·
``keyprovider.decrypted`` host, provider · ``keyprovider.refused`` host, status, reason ·
``keyprovider.server_failed`` server, error · ``keyprovider.certificate`` renewed
"""
