"""The local consoles of nodes, asked through their agents.

- ``queries``  one question to many nodes
"""
