"""``python -m fem_ngf`` is ``fem-ngf``."""

import sys

from .run.cli import main

sys.exit(main())
