"""memviz: why a kernel cannot find contiguous memory, and what movable objects buy."""

__version__ = "0.1.0"

APP_ID = "io.github.memviz.memviz"
"""The desktop's name for the program: carried by its desktop, metainfo, mime and polkit files, icons and window."""
