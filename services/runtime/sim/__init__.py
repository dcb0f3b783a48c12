"""Drivers for virtual time: loop, bus (memory), clock, rng, disk, database; world joins them."""
