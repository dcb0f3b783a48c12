"""The protection of keys on the disk.

- ``roots``  what seals the key ring: each kind makes a key, and finds it again at the next start
- ``vault``  the key ring of a key server (its KEKs by version, and the key of its tags), and the
  vault that wraps key material and tags rows and trail with it, in one life of a server
"""
