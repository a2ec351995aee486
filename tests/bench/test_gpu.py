"""The bench of the GPU on a CPU: that its workers answer, not what they measure."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "gpu.py"


def test_a_worker_measures_what_a_line_asks_for() -> None:
    words = [sys.executable, str(BENCH), "--worker", "ours"]
    asked = "decode 32\nprefill 64\n"
    ended = subprocess.run(words, input=asked, capture_output=True, text=True, check=True)
    about, *seconds = [json.loads(line) for line in ended.stdout.splitlines()]
    assert about["names"] == list(about["first_s"]) == ["decode 32", "decode 64", "prefill 64"]
    assert len(seconds) == 2
    assert min(seconds) > 0
