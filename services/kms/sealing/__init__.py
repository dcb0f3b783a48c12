"""The protection of keys on the disk.

- ``vault``  the key ring of a key server (its KEKs by version, and the key of its tags), and the
  vault that wraps key material and tags rows and trail with it, in one life of a server
"""
