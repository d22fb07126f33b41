"""Tables: reading and writing them, what their columns are, and synthetic ones whose density is known."""

from unwarp.data._io import read_table, write_table

__all__ = ["read_table", "write_table"]
