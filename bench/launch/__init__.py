"""Launchers: who started us, and how to start ourselves.

table                one row a launcher: the variables by which it is known
context              how the launcher placed this process, read from them
placement            on which node each rank is, by the launcher's variables
mpirun               mpirun on this machine
hosts                host files of Open MPI, MPICH, Slurm and people
command_lines        the command of each launcher for a list of hosts
remote               one command on each of several hosts
torchrun_error_file  what torchrun shows of a process that failed
python, run_module   how our Python is started, without the current folder among its imports
scratch              folders for what does not last
"""

from .context import LaunchContext, Rendezvous, agree, launch_context
from .mpirun import (
    find_mpirun,
    flavour,
    local_command,
    mpi_environment,
    mpirun_version,
    quiet_mpi,
    shown,
)
from .table import LaunchError
