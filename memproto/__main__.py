"""``python -m memproto`` is the command ``memproto``."""

import sys

from memproto.cli import main

if __name__ == "__main__":
    sys.exit(main())
