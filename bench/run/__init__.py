"""One run as rank 0 leads it: bootstrap, phases, follow-ups, resume, finish."""
