"""Messages between supervisors: a star with rank 0 in the middle.

connect        a rank's end of the star, whichever launcher started it
tcp            the star: authenticated TCP
sealed_frames  what TCP carries: sealed frames, the handshake's proofs
rendezvous     rank 0 listens until all ranks are connected; the others dial
token          the secret of a job without MPI: where it comes from
mpi            MPI hands out the address and a secret, and ends or aborts the job
"""
