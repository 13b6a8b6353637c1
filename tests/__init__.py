"""Tests, in the shape of the sources."""

import os

# Before torch is imported: models as small as these gain nothing by a second thread, and where something else runs on
# the machine, threads that wait for each other take many times as long. Tests about threads say how many.
os.environ.setdefault("OMP_NUM_THREADS", "1")
