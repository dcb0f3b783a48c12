"""Looking for secrets in all that a run has said and left, with every key at hand.

- ``ledger``  every secret that this process ever holds, for the scan of a whole run; of a lab of
  real processes, what any of them ever held, in this memory only
- ``search``  finding secrets in bytes, whatever they are written as
"""
