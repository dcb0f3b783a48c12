"""Settings of a key server: ``config`` from the topology, ``knobs`` that change while it runs."""
