"""Key providers: what each management type means for vCenter, and the kinds that are built.

- ``capabilities``  the table of management types: who makes keys, who brings values to hosts, who
  answers for health and key status, which events tell of it; pure
- ``provider``      the protocol of a provider whose key servers vCenter asks itself
- ``standard``      the standard provider: KMIP servers (STD rules): built
- ``wrapping``      wrapped keys of a standard provider, and their wrapping key (KEY-07)
- ``client_certificates``  what KMIP servers are shown    - ``symkey``  vCenter's own key
- ``logins``       user names and passwords at KMIP servers
- ``native``        native providers: their key derivation keys at rest, health, references (NKP)
- ``exports``       backups that wait for their download; ``backups`` reminds of missing ones
- ``kept_values``   values of standard keys that are kept for a while, by a knob (C15)
- ``registry``      finds a provider by name, and fetches values of keys for one delivery

Trusted providers are a row of the table: their hosts have what else belongs to them, and the Trust
Authority of the package ``trust``.
"""
