"""The supervisors: one on every rank with its worker, and on rank 0 the coordinator over them.

A supervisor imports no torch and no CUDA. It starts the worker of each phase, passes on what the
worker says, and ends it when told. The coordinator decides: it holds the deadlines, writes the
journal, finds who is to blame when a phase breaks, and goes on with the cases that are left.

    limits       deadlines, polling intervals, how a run ends early
    farewell     why a supervisor leaves before it is dismissed
    departures   which supervisors left, as rank 0 hears it
    supervisor   the supervisor of a rank
    coordinator  the coordinator over them
"""
