"""Drivers for real processes: ``bus`` (nats), ``clock``, ``rng``, ``disk``, ``database``."""
