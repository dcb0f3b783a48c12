"""Looking for secrets in all that a run has said and left, with every key at hand.

- ``ledger``     every secret that a process ever holds, in its memory only
- ``planted``    imported by a process, it begins the ledger there
- ``search``     finding secrets in bytes, whatever they are written as
- ``exempt``     where secrets may lie, and why
- ``simulated``  all places of a simulated lab, and what a run's history has of their scan
- ``forensics``  persisted keys in the archives on a host's disk
"""
