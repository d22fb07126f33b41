"""Tables: reading and writing them, what their columns are, and synthetic ones whose density is known."""

from unwarp.data._codes import Codes
from unwarp.data._column import Column
from unwarp.data._encode import Encoding
from unwarp.data._file import TableFile
from unwarp.data._frames import arrow_table, finite_values, numeric_frame
from unwarp.data._infer import dependent, infer
from unwarp.data._io import read_table, write_table
from unwarp.data._schema import Schema
from unwarp.data._toy import Toy, toy, toys
from unwarp.data._typed import infer_table

__all__ = [
    "Codes",
    "Column",
    "Encoding",
    "Schema",
    "TableFile",
    "Toy",
    "arrow_table",
    "dependent",
    "finite_values",
    "infer",
    "infer_table",
    "numeric_frame",
    "read_table",
    "toy",
    "toys",
    "write_table",
]
