"""The most memory that a CUDA device gave out meanwhile, as its driver counts it."""

from __future__ import annotations

import os
import subprocess
import threading

DEVICE = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
"""That is computed on: the first of those that are to be seen, by number or UUID."""


class DeviceMemory:
    """Watches from now until it is stopped; everything on the device counts, beyond what was there at first.

    Where the driver's tool isn't there, or doesn't tell, nothing is known, and nothing is made up.
    """

    def __init__(self) -> None:
        self._smi: subprocess.Popen[str] | None = None
        query = ["nvidia-smi", f"--id={DEVICE}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        try:
            self._before = int(subprocess.run(query, capture_output=True, text=True, check=True).stdout) << 20
        except (OSError, subprocess.CalledProcessError, ValueError):
            return
        self._peak = self._before
        self._smi = subprocess.Popen([*query, "--loop-ms=50"], stdout=subprocess.PIPE, text=True)
        self._listener = threading.Thread(target=self._listen, args=(self._smi,), daemon=True)
        self._listener.start()

    def _listen(self, smi: subprocess.Popen[str]) -> None:
        assert smi.stdout is not None
        for line in smi.stdout:
            if line.strip().isdecimal():
                self._peak = max(self._peak, int(line) << 20)

    def stop(self) -> int | None:
        """Bytes: the peak; None if it isn't known."""
        if self._smi is None:
            return None
        self._smi.kill()
        self._smi.wait()
        self._listener.join()
        if self._smi.stdout is not None:
            self._smi.stdout.close()
        return self._peak - self._before
