"""The supervisors: one on every rank with its worker, and on rank 0 the coordinator over them.

A supervisor imports no torch and no CUDA. It starts the worker of each phase, passes on what the
worker reports, and ends it when told. The coordinator decides: it holds the deadlines, writes the
journal, finds who is to blame when a phase breaks, and goes on with the cases that are left.

coordinator     runs phases over all supervisors, on rank 0
supervisor      the supervisor of a rank
worker_process  the process that measures, and the one that forks it
shared_import   one import of torch for all ranks of a command
monitor         what a supervisor samples beside its worker
departures      supervisors that leave before they are dismissed, and who is to blame
watchdog        a process that outlives rank 0
outlive_mpirun  how rank 0 outlives an mpirun that ends its job
node_watch      what a node's sockets carry beside the job of somebody else
questions       what rank 0 asks supervisors, and the classes of the answers
answers         what a supervisor answers about its machine
messages        what supervisors say to rank 0, as classes
phase_orders    what begins a phase
phase_observer  who is told what happens while phases run
limits          deadlines, polling intervals, how a run ends early
control/        messages between supervisors
hangs/          who holds the others up
"""
