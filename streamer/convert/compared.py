"""What a comparison with other weights adds to the findings about a file."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from lzr2.verify import Finding, RecordReport, Report

DIFFERS = "differs"
"""Kind of the finding that a tensor isn't exactly the reference's."""


def with_differences(report: Report, reference: Container[str]) -> Report:
    """The report in which whatever isn't exactly as in the reference is a finding, and no comparison at all an error.

    Args:
        report: of a verification against the reference.
        reference: the keys of its tensors.
    """
    records = tuple(_judged(record, reference) for record in report.records)
    about = report.file_findings
    unreadable = not records and any(finding.severity == "error" for finding in about)  # which is said already
    if not unreadable and not any(record.comparison for record in records):
        text = "nothing was compared: no tensor of the file could be read and is in the reference, in the same shape"
        about = (*about, Finding("error", "nothing compared", text))
    return replace(report, records=records, file_findings=about)


def _judged(record: RecordReport, reference: Container[str]) -> RecordReport:
    compared = record.comparison
    if compared is not None and not compared.exact:
        text = f"{compared.n_different:,} of {record.n_weights:,} weights differ, by at most {compared.max_error:.3g}"
        return replace(record, findings=(*record.findings, Finding("finding", DIFFERS, text, record.key)))
    if record.key not in reference and not any(finding.kind == "no payload" for finding in record.findings):
        text = "the reference has no such tensor"
        return replace(
            record, findings=(*record.findings, Finding("finding", "not in the reference", text, record.key))
        )
    return record
