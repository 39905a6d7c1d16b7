"""Judges what the InfiniBand tools said of the subnet: links, ports, error counters."""
