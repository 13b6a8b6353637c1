"""What the ``streamer`` command calls: as little as possible, so that Ctrl-C is heard from the start."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """As `streamer.cli.app.main`; interrupted while even that is loaded, it ends with 130 and no traceback."""
    try:
        from streamer.cli.app import main as run
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again, it would break off the end
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    run()
