"""memviz: why a kernel cannot find contiguous memory, and what movable objects buy."""

__version__ = "0.1.0"
