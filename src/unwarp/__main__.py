"""``python -m unwarp`` is the command ``unwarp``."""

import sys

from unwarp.cli import main

if __name__ == "__main__":
    sys.exit(main())
