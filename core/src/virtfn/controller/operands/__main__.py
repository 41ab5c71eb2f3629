"""`python -m virtfn.controller.operands`: writes the manifests of `deploy/` anew."""

import sys

from virtfn.controller.operands.manifests import main

sys.exit(main())
