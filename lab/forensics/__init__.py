"""A host's disk as somebody sees it who has it in hand.

- ``archives``   its configuration archive, opened from outside
- ``forensics``  the persisted keys in it
"""
