"""Looking for secrets in all that a run has said and left, with every key at hand.

- ``ledger``     every secret that a process ever holds, in its memory only
- ``collector``  what all processes of a real lab hold, in the memory of their owner only
- ``watch``      a lab that is watched from its first message on, for searches
- ``search``     finding secrets in bytes, whatever they are written as
- ``exempt``     where secrets may lie, and why
- ``files``      places on the disks of a real lab
- ``outcome``    what a run's history has of a scan
"""
