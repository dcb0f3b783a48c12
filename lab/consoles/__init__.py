"""The local consoles of nodes, asked through their agents.

- ``asking``  one question to many nodes
"""
