"""Every finding in a file, and how its tensors compare with others."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lzr2 import decode, indices, layout
from lzr2.byte_source import ByteSource, BytesSource
from lzr2.errors import Lzr2Error, StreamError, StreamSizeError, printable
from lzr2.file_source import FileSource, open_source
from lzr2.index import Index, duplicated_keys
from lzr2.record import RecordInfo
from lzr2.scan import Scanner

Severity = Literal["error", "finding"]
_PIECE_WEIGHTS = 1 << 18


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about a file. An error means it can't be read; a finding, that it is read in a way that
    its writer may not have meant (SPEC.md, section 5)."""

    severity: Severity
    kind: str
    text: str
    key: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a decoded tensor differs from a reference, taken as float16. snr_db is infinite where nothing differs."""

    exact: bool
    n_different: int
    max_error: float
    snr_db: float


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What was found in one record."""

    key: str
    shape: tuple[int, ...]
    n_weights: int
    overlay_count: int
    record_nbytes: int
    findings: tuple[Finding, ...]
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a file. `file_findings` concern no single record. `checksums`: whether the file's index has
    checksums, which were compared."""

    path: str
    records: tuple[RecordReport, ...]
    file_findings: tuple[Finding, ...]
    checksums: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them: those about the file, then those of each record in the order of the file."""
        return self.file_findings + tuple(f for record in self.records for f in record.findings)

    def ok(self, *, strict: bool = False) -> bool:
        """Whether every tensor can be read; with strict, whether there is nothing to remark on at all."""
        return not any(strict or f.severity == "error" for f in self.findings)


def verify(
    path: str | os.PathLike[str] | bytes | bytearray | memoryview,
    against: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    threads: int = 1,
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Reads all of a file that matters to its weights and reports every fault and oddity; raises for neither.

    against: reference tensors by key, read one at a time; each is compared as float16. threads: that decode for the
    comparison. on_bytes: told, record by record, how many bytes of how many are done. Memory: a few tensors.
    Raises MissingFileError and UnreadableFileError.
    """
    in_memory = isinstance(path, (bytes, bytearray, memoryview))
    source: ByteSource = BytesSource(path) if in_memory else open_source(path)  # type: ignore[arg-type]
    try:
        faults: tuple[Finding, ...] = ()
        try:
            index = _index(source)
        except Lzr2Error as error:
            faults = (_as_finding(error),)
            index = Index(source.name, tuple(_before_the_fault(source)), None, source.nbytes)
        reports = []
        for record, report in zip(index.records, record_reports(source, index, against, threads=threads), strict=True):
            reports.append(report)
            on_bytes(record.end, source.nbytes)
        about = () if faults else tuple(_about_the_file(index, against))
        return Report(source.name, tuple(reports), faults + about, index.has_checksums)
    finally:
        source.close()


def _index(source: ByteSource) -> Index:
    saved = Index.saved(source) if isinstance(source, FileSource) else None
    if saved is not None and saved.has_checksums:  # it was made by inflating, and knows more than the file itself
        return saved
    try:
        return Index.of_source(source, exact=True)
    except (StreamError, StreamSizeError):
        # One damaged stream mustn't hide what there is to say about the other records.
        return Index.of_source(source)


def _before_the_fault(source: ByteSource) -> Iterator[RecordInfo]:
    """The records up to the first that can't be passed."""
    with contextlib.suppress(Lzr2Error):
        yield from Scanner(source).records()


def record_reports(
    source: ByteSource, index: Index, against: Mapping[str, npt.NDArray[Any]] | None = None, *, threads: int = 1
) -> Iterator[RecordReport]:
    """One report after the other, in file order: for showing progress."""
    twice = duplicated_keys(index.records)
    for record in index.records:
        findings = list(_about_the_header(source, record, record.key in twice))
        comparison = None
        if record.has_payload:
            try:
                findings += _about_the_payload(source, record)
                if against is not None and record.key in against and index.by_key[record.key] == record:
                    comparison, more = _compare(source, record, against[record.key], threads)
                    findings += more
            except Lzr2Error as error:
                findings.append(_as_finding(error))
        yield RecordReport(
            record.key,
            record.shape,
            record.n_weights,
            record.overlay_count,
            record.record_nbytes,
            tuple(findings),
            comparison,
        )


def _as_finding(error: Lzr2Error) -> Finding:
    return Finding("error", type(error).__name__, str(error), error.key, error.offset)


def _about_the_file(index: Index, against: Mapping[str, npt.NDArray[Any]] | None) -> Iterator[Finding]:
    if not index.by_key:
        yield Finding("finding", "no weights", "the file sets no tensor")
    if against is not None:
        missing = [key for key in against if key not in index.by_key]
        if missing:
            names = ", ".join(f"'{printable(key)}'" for key in missing[:5])
            yield Finding("finding", "missing keys", f"{len(missing)} reference tensors aren't set: {names}")


def _about_the_header(source: ByteSource, record: RecordInfo, twice: bool) -> Iterator[Finding]:
    def finding(kind: str, text: str) -> Finding:
        return Finding("finding", kind, text, record.key, record.start)

    if twice:
        yield finding("repeated key", "the key occurs more than once; the last record with a payload counts")
    if not record.key.isprintable() or not record.key:
        yield finding("odd key", "the key is empty or has characters that can't be printed")
    if not record.has_payload:
        yield finding("no payload", "the record leaves the tensor as the base model has it")
        flag = source.read(record.payload_start - 1, 1)[0]
        if flag:
            yield finding("odd flag", f"flag {flag} is neither 0 nor 1; taken as 0")
    if math.prod(record.shape) == 0:
        yield finding("no elements", f"the shape {record.shape} has no elements")
    if 2 * record.n_weights > layout.max_allocation_nbytes(source.nbytes):
        yield finding(
            "huge", f"{record.n_weights} weights in a file of {source.nbytes} bytes; only decode_into reads it"
        )
    if record.d > 10:
        yield finding("large d", f"d = {record.d}: u16 indices don't reach the leading digits")


def _about_the_payload(source: ByteSource, record: RecordInfo) -> Iterator[Finding]:
    from lzr2 import survey

    def finding(kind: str, text: str, offset: int) -> Finding:
        return Finding("finding", kind, text, record.key, offset)

    decode.check_checksum(source, record)
    n_blocks = indices.check_indices(source, record)
    needed = layout.blocks_needed(record.n_columns, record.d)
    if n_blocks != needed and record.n_weights:
        kind = "short lattice" if n_blocks < needed else "long lattice"
        yield finding(kind, f"{n_blocks} blocks a row where {needed} reach every column", record.indices_start)
    if not record.n_weights and not record.overlay_count:
        return
    levels = decode.read_levels(source, record)
    infinite_rows = int(np.count_nonzero((levels & 0x7C00 == 0x7C00).any(axis=1)))
    if infinite_rows:
        yield finding("not finite", f"{infinite_rows} rows have a level that isn't finite", record.offset_start)
    counts = np.zeros(5, np.int64)
    wide = record.entry_nbytes == layout.WIDE_ENTRY_NBYTES
    for words in decode.overlay_words(source, record, 0, record.overlay_count):
        survey.survey(words, wide, record.n_rows, record.n_columns, counts)
    outside, back, same, infinite = (int(n) for n in counts[:4])
    place = record.overlay_start
    if outside:
        yield finding("outside", f"{outside} overlay entries lie outside the tensor and are ignored", place)
    if back:
        yield finding("unsorted", f"{back} overlay entries come before their predecessor", place)
        same = record.overlay_count - outside - decode.read_inflated(source, record).overlay_positions.size
    if same:
        yield finding("duplicates", f"{same} overlay entries are replaced by later ones", place)
    if infinite:
        yield finding("not finite", f"{infinite} overlay values aren't finite in float16", place)


def _compare(
    source: ByteSource, record: RecordInfo, reference: npt.NDArray[Any], threads: int
) -> tuple[Comparison | None, list[Finding]]:
    if tuple(reference.shape) != record.shape:
        text = f"shape {record.shape} where the reference has {tuple(reference.shape)}"
        return None, [Finding("error", "shape", text, record.key, record.start)]
    decode.check_size(source, record)
    decoded = np.empty(record.n_weights, np.float16)
    decode.decode_record_into(source, record, decoded, threads=threads)
    with np.errstate(all="ignore"):
        wanted = np.ascontiguousarray(reference, np.float16).reshape(-1)
    n_different, worst, noise, signal = 0, 0.0, 0.0, 0.0
    for at in range(0, decoded.size, _PIECE_WEIGHTS):
        a, b = decoded[at : at + _PIECE_WEIGHTS], wanted[at : at + _PIECE_WEIGHTS]
        signal += float(np.sum(np.square(b, dtype=np.float64)))
        differs = a.view(np.uint16) != b.view(np.uint16)
        differs &= ~(np.isnan(a) & np.isnan(b))
        n = int(np.count_nonzero(differs))
        if n:
            n_different += n
            with np.errstate(all="ignore"):
                error = np.abs(a[differs].astype(np.float64) - b[differs])
            error[np.isnan(error)] = np.inf
            worst = max(worst, float(error.max()))
            noise += float(np.sum(np.square(error)))
    finite = 0 < signal < math.inf and noise < math.inf
    snr = math.inf if noise == 0 else (10 * math.log10(signal / noise) if finite else -math.inf)
    return Comparison(n_different == 0, n_different, worst, snr), []
