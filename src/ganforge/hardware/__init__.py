"""Devices, processes and precision as a choice."""
