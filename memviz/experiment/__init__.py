"""Experiments: scenarios × policies × seeds × sizes of memory, each combination a *cell* that is computed once."""
