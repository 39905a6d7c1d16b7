"""Why nothing moves, and who holds the others up: from heartbeats, byte counters and what libraries recorded.

rank_state      what rank 0 heard of every rank -> where each stands
trouble         when a phase cannot go on
culprits        where all ranks stand -> a sentence and the culprits
nccl_ras        what NCCL's RAS service says of a job
recorded_waits  who has not entered a call that others wait in, by torch's recorders
recordings      what torch and NCCL recorded, for the journal
"""
