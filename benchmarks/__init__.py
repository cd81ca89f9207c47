"""Measurements against the peers, each pair in one run on one machine."""
