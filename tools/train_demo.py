"""Makes the demo from nothing: fetches its pictures, trains every part, measures it and writes its card.

    pip install resvg-py==0.5.0
    python tools/train_demo.py OUT

About three hours on two CPU cores, less with a GPU. What was begun goes on with --resume; --stages runs some of it
alone.
"""

from __future__ import annotations

import os
import sys

# Beside another busy process OpenMP's spinning is ruinous; read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from train_demo.cli import main

if __name__ == "__main__":
    sys.exit(main())
