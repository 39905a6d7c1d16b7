"""Measures on one rank: the worker process, its timing loop, the backends, perftest."""
