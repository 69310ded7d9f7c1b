"""``python -m fem_ngf`` is ``fem-ngf``."""

import sys

from fem_ngf.run.cli import main

sys.exit(main())
