"""One run on many processes: MPI (package mpi4py)."""
