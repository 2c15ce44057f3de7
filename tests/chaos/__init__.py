"""Faults: what a machine, a network or another process may do to a run, and what must hold afterwards."""
