"""`python -m sparsexmc.cli`: the same as the `sparsexmc` command."""

import sys

from . import main

sys.exit(main())
