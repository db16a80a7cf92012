"""The environment, against Python's own words for it and against a page of /proc/cpuinfo."""

import re
import sys

import feast
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from fpm import environment
from fpm.environment import environment_fingerprint, processor

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Processor

processor\t: 1
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 999
model name\t: another
"""


def test_the_first_processor_is_named_by_make_and_model() -> None:
    assert processor(CPUINFO) == "GenuineIntel 6 143 Intel(R) Xeon(R) Processor"
    assert processor("Hardware : BCM2835\n") == ""


def test_versions_are_those_that_run() -> None:
    said = environment.environment()
    assert said["python"] == sys.version.split()[0]
    for library in (feast, np, pl, pa, torch):
        assert said[library.__name__] == library.__version__
    assert said["architecture"] and said.keys() == {
        "python",
        "feast",
        "numpy",
        "polars",
        "pyarrow",
        "torch",
        "architecture",
        "processor",
    }


def test_the_fingerprint_follows_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    here = environment_fingerprint()
    assert re.fullmatch("[0-9a-f]{12}", here)
    said = environment.environment()
    fingerprints = {here}
    for name in said:
        monkeypatch.setattr(environment, "environment", lambda name=name: said | {name: "another"})
        fingerprints.add(environment_fingerprint.__wrapped__())
    assert len(fingerprints) == 1 + len(said)
