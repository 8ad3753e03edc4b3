"""`python -m swellmq`."""

from __future__ import annotations

import sys

from swellmq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
