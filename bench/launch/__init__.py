"""Launchers: who started us, and how to start ourselves.

table     one row a launcher: the variables by which it is known
place     where a process stands in its job, read from them
mpirun    mpirun on this machine
hosts     host files of Open MPI, MPICH, Slurm and people
commands  the command of each launcher for a list of hosts
remote    one command on each of several hosts
elastic   what torchrun shows of a process that failed
scratch   folders for what does not last
"""

from .mpirun import (
    find_mpirun,
    flavour,
    local_command,
    mpi_environment,
    mpirun_version,
    quiet_mpi,
    shown,
)
from .place import Meet, Place, agree, place
from .table import LaunchError
