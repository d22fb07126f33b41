"""The command ``unwarp``: each of its commands is a few lines over the public Python API.

Exit codes: 0 all is well, 1 internal, 2 usage, 3 bad data, 4 bad model file, 5 did not converge, 130 interrupted. An
error is one line on standard error; UNWARP_DEBUG=1 adds the traceback. ``--json`` turns what a command prints to JSON.
"""

from unwarp.cli._app import app, main

__all__ = ["app", "main"]
