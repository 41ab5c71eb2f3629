"""A hundred thousand mutations of documents of all kinds: does any of them end in an error that is not virtfn's own?

    python bench/fuzz_documents.py [COUNT] [--seed N]

The mutations and what is tried with them are those of core/tests/policy/test_fuzz.py, which runs a few each time.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).resolve().parent.parent / "core" / "tests" / "policy" / "test_fuzz.py"
AT_ONCE = 1000


def mutations() -> ModuleType:
    """The module of the tests."""
    spec = importlib.util.spec_from_file_location("test_fuzz", TESTS)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(TESTS)
    module = importlib.util.module_from_spec(spec)
    sys.modules["test_fuzz"] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Run them; 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=100_000, help="mutations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other mutations (default: %(default)s)")
    args = parser.parse_args()
    fuzz = mutations()
    total, found, start = fuzz.Tally(), 0, time.perf_counter()
    for number in range(0, args.count, AT_ONCE):
        try:
            total.ends.update(fuzz.fuzz(min(AT_ONCE, args.count - number), args.seed * 1_000_000 + number).ends)
        except fuzz.Unexpected as error:
            found += 1
            print(f"FOUND {error}\n", flush=True)
    seconds = time.perf_counter() - start
    print(f"{args.count} mutations in {seconds:.0f} s: {found} runs of {AT_ONCE} ended in a foreign error")
    print(f"what came of them: {total}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
