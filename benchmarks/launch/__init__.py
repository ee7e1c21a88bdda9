"""Where the runs of a sweep go: processes on this machine, Slurm, or a list of commands."""
