"""Key providers: what each management type means for vCenter, and the kinds that are built.

- ``capabilities``    the table of management types: who makes keys, who brings values to hosts,
  who answers for health and key status, which events tell of it; pure
- ``provider``        the protocol of a provider whose key servers vCenter asks itself
- ``standard``        the standard provider: KMIP servers (STD rules): built
- ``wrapped_keys``    wrapped keys of a standard provider (KEY-07 to KEY-09), which came with 9.0
- ``stored_secrets``  secrets that vCenter stores in the inventory under a key of its own, which is
  in the file ``symkey.dat`` on its disk (NKP-08)
- ``native``          native providers in vCenter
- ``registry``        the providers of one vCenter

Trusted providers are a row of the table: their hosts have what else belongs to them, and the Trust
Authority of the package ``trust``.
"""
