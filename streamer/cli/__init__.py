"""The command line: arguments, calls and output, nothing else."""
