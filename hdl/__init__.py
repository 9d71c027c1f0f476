"""Amaranth gateware, one component a file."""
