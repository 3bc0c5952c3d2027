"""The simulated kernel: plain Python that reads like mm/, lib/xarray.c and kernel/rcu of Linux.

No Qt, no files, no wall clock, no numpy; one module a kernel file. ``machine.Machine`` puts the modules together.
"""
