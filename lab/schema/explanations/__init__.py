"""Explanations of errors, by subject: ``arrays``, ``brokers``, ``load``, ``machines``."""
