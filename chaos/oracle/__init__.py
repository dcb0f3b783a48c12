"""The documented behaviour as a model that shares no decision code with the services.

- ``terms``  blocks, faults, events and letters of the truth table
- ``table``  the truth table, cell by cell, for comparing: the model itself never reads it
"""
