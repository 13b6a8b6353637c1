"""Coverage-guided fuzzing of the reader: python -m tests.lzr2.fuzz.run tests/lzr2/fuzz/corpus  (needs atheris)"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["lzr2"]):
    from lzr2 import indices
    from tests.lzr2 import reference
    from tests.lzr2.fuzz.read import check


def one(data: bytes) -> None:
    check(data)


if __name__ == "__main__":
    indices._LEAST_NBYTES = 0  # fuzzed files are small: the own decoder shall have its share of them
    for name in reference.golden_names():  # loops are compiled before the clock runs
        check((reference.GOLDEN / f"{name}.lzr2").read_bytes())
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
