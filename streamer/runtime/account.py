"""What the engine did, noted twice: added up for statistics, and span by span if a trace is wanted."""

from __future__ import annotations

from streamer.plan import TensorPlace
from streamer.runtime.load_timer import LoadTimer
from streamer.runtime.spans import Lane, SpanRecorder
from streamer.runtime.stats import StreamStats, Work
from streamer.tiers.device_clock import DeviceClock, Mark


class Account:
    """Takes note of waiting, computing, loading and sending. Thread-safe. Times: seconds by `time.perf_counter`.

    Attributes:
        stats: the sums.
        recorder: of spans; None while no trace is wanted.
        reads: what a source's reads report to.
        clock: of a device that runs behind the program; None: there is none, or no trace is wanted.
    """

    def __init__(self) -> None:
        self.stats = StreamStats()
        self.recorder: SpanRecorder | None = None
        self.reads = LoadTimer()
        self.clock: DeviceClock | None = None

    def begin_step(self) -> None:
        """A forward starts."""
        self.stats.begin_step()
        if self.recorder is not None:
            self.recorder.begin_step()

    def waited(self, block: str, start: float, end: float) -> None:
        """The compute thread waited for the block."""
        self._note(Lane.WAIT, block, start, end, 0, Work(waited_seconds=end - start))

    def mark(self) -> Mark | None:
        """When the device has done what the calling thread gave it so far; None without a clock."""
        return None if self.clock is None else self.clock.mark()

    def computed(self, block: str, start: float, end: float, began: Mark | None = None) -> None:
        """The block ran; on a device with a clock, from this mark to now."""
        ended = self.mark()
        on_device = None if began is None or ended is None else (began, ended)
        self._note(Lane.COMPUTE, block, start, end, 0, Work(compute_seconds=end - start), on_device)

    def sent(
        self,
        block: str,
        start: float,
        end: float,
        nbytes: int,
        expanded_nbytes: int = 0,
        on_device: tuple[Mark, Mark] | None = None,
    ) -> None:
        """The calling thread sent the block to the device, or had the device expand it."""
        work = Work(uploaded_nbytes=nbytes, expanded_nbytes=expanded_nbytes, upload_seconds=end - start)
        self._note(Lane.UPLOAD, block, start, end, nbytes, work, on_device)

    def loaded(self, block: str, place: TensorPlace, start: float, end: float) -> None:
        """The calling thread read and decoded a tensor; what it read since `reads` was asked last was for this one."""
        reads = self.reads.take()
        work = Work(
            read_nbytes=reads.nbytes,
            loaded_nbytes=place.nbytes,
            read_seconds=reads.seconds,
            decode_seconds=max(0.0, end - start - reads.seconds),
        )
        self.stats.add(block, work)
        if self.recorder is not None:
            self.recorder.note(Lane.DECODE, place.key, start, end, place.nbytes)
            for read_start, read_end, nbytes in reads.spans:
                self.recorder.note(Lane.DISK, place.key, read_start, read_end, nbytes)

    def _note(
        self,
        lane: Lane,
        block: str,
        start: float,
        end: float,
        nbytes: int,
        work: Work,
        on_device: tuple[Mark, Mark] | None = None,
    ) -> None:
        self.stats.add(block, work)
        if self.recorder is not None:
            self.recorder.note(lane, block, start, end, nbytes, on_device)
