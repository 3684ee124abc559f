"""`python -m manualbp`: the command line."""

import sys

from manualbp.cli import main

if __name__ == "__main__":
    sys.exit(main())
