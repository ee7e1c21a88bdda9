"""Where the runs of a sweep are computed: here, in processes, or by Slurm.
May import what runs may.
"""
