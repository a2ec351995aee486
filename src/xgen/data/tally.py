"""What came, what was kept, what went and why: documents and bytes, with samples for people to look at.

The law: documents that came = kept + rejected, and their bytes = kept + rejected + removed (from within).
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["came", "kept", "rejected", "removed", "moved"]
N_SAMPLES = 4
SAMPLE_CHARACTERS = 700


@dataclass(frozen=True)
class Entry:
    """One count: `documents` (of `removed`: pieces) and UTF-8 bytes under a verdict, a reason and a place."""

    verdict: Verdict
    reason: str
    source: str
    set: str
    language: str
    documents: int
    bytes: int


@dataclass
class Tally:
    """Counts by (verdict, reason, source, set, language), and a few samples of each reason and language."""

    counts: dict[tuple[str, str, str, str, str], list[int]] = field(default_factory=dict)
    samples: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)

    def add(
        self,
        verdict: Verdict,
        reason: str,
        place: tuple[str, str, str],
        n_bytes: int,
        documents: int = 1,
        sample: tuple[str, str] | None = None,
    ) -> None:
        """Count under a place (source, set, language); `sample` is an id and a text."""
        count = self.counts.setdefault((verdict, reason, *place), [0, 0])
        count[0] += documents
        count[1] += n_bytes
        if sample is not None:
            name, text = sample
            key = f"{verdict} {reason} {place[2]}" if verdict == "kept" else f"{verdict} {reason}"
            self._keep(key, [(zlib.crc32(name.encode("utf-8", "replace")), name, _cut(text))])

    def merge(self, other: "Tally") -> None:
        """Add another's counts and samples; in whatever order tallies are merged, the result is the same."""
        for key, (documents, n_bytes) in other.counts.items():
            count = self.counts.setdefault(key, [0, 0])
            count[0] += documents
            count[1] += n_bytes
        for name, samples in other.samples.items():
            self._keep(name, samples)

    def entries(self) -> Iterator[Entry]:
        """All counts, sorted."""
        for (verdict, reason, source, kind, language), (documents, n_bytes) in sorted(self.counts.items()):
            yield Entry(verdict, reason, source, kind, language, documents, n_bytes)  # type: ignore[arg-type]

    def total(self, verdict: Verdict) -> tuple[int, int]:
        """Documents and bytes under a verdict."""
        found = [entry for entry in self.entries() if entry.verdict == verdict]
        return sum(entry.documents for entry in found), sum(entry.bytes for entry in found)

    def fault(self) -> str | None:
        """Where the law is broken, source by source, in words; None if it holds."""
        left: dict[str, list[int]] = {}
        for entry in self.entries():
            sign = {"came": 1, "moved": 0}.get(entry.verdict, -1)
            sums = left.setdefault(entry.source, [0, 0])
            sums[0] += sign * entry.documents * (entry.verdict != "removed")
            sums[1] += sign * entry.bytes
        wrong = [
            f"{source}: {n} documents and {n_bytes} bytes"
            for source, (n, n_bytes) in left.items()
            if n or n_bytes
        ]
        return "; ".join(wrong) or None

    def to_json(self) -> str:
        """For `from_json`."""
        counts = [[*key, *count] for key, count in sorted(self.counts.items())]
        return json.dumps({"counts": counts, "samples": self.samples}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tally":
        """What `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        counts = {tuple(row[:5]): row[5:] for row in data["counts"]}
        samples = {key: [(a, b, c) for a, b, c in rows] for key, rows in data["samples"].items()}
        return cls(counts, samples)

    def _keep(self, key: str, samples: list[tuple[int, str, str]]) -> None:
        self.samples[key] = sorted({*self.samples.get(key, []), *samples})[:N_SAMPLES]


def _cut(text: str) -> str:
    return text[:SAMPLE_CHARACTERS].encode("utf-8", "replace").decode()
