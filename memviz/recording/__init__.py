"""The ``.memviz`` file: what is in it (``format``), how it is written (``recorder``) and read (``reader``)."""
