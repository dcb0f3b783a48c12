"""A model of the documented behaviour that shares no decision code with the services.

- ``terms``      blocks, faults, events and letters of the truth table
- ``facts``      the facts behind the answer to one question
- ``reasons``    R1 to R66: each a function of the facts
- ``judgement``  the answer to a question, and its reasons
- ``effects``    what a fault takes away: each fault declares its own
- ``fold``       the facts of a run, folded from its history, and the states that they allow
- ``table``      the truth table, cell by cell, for comparison: the model itself never reads it
"""
