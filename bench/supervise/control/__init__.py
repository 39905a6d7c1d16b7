"""Messages between supervisors: rank 0, the first rank of each node, the others of that node.

connect        a rank's route to rank 0, whichever launcher started it
tcp            the messages, and who passes them on
tree_places    who is connected to rank 0 itself, and who behind which other node
resumable_stream  a rank's frames to rank 0, numbered, over a route through other nodes that can be replaced
connection     one connection
frames         what stands in a frame: messages and their kinds
sealed_frames  what it carries: sealed frames, the handshake's proofs
rendezvous     rank 0, and then the first rank of each node, listens until all are connected; the others dial
token          the secret of a job without MPI: where it comes from
mpi            MPI hands out the address and a secret, and ends or aborts the job
"""
