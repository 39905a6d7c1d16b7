"""Messages between supervisors: a star with rank 0 in the middle.

connect   every rank's end of the star, whoever started it
tcp       the star: authenticated TCP
frames    what TCP carries: sealed frames, the handshake's proofs
door      rank 0 listens until all are in; the others dial
token     the secret of a job without MPI: where it comes from
mpi       hands out address and secret where the launcher brings MPI, and aborts
"""
