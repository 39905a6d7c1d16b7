"""perftest's ib_write_bw and ib_write_lat on every rail between pairs of nodes, in the same run as the rest.

tool       what the installed ib_write_bw can, by its own help
command    the words of a server and of a client
schedule   which pairs meet, on which rails, with which memory
results    what the processes said, as it lies in the run folder
causes     why one has no result, in one line
outcome    bytes/s, seconds or the cause
expected_rate, expected_latency   the least and the most of a rail without fault
processes  starts, watches and ends the processes of one node    (edge: the machine)
"""
