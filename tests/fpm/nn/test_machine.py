"""What is told of a machine, against Python's own words for it and against a page of /proc/cpuinfo."""

import sys

import numpy as np
import torch

from fpm.nn.machine import differences, machine, processor, versions

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


def test_the_first_processor_is_told_by_make_and_model() -> None:
    assert processor(CPUINFO) == "GenuineIntel 6 143 Intel(R) Xeon(R) Processor"
    assert processor("Hardware : BCM2835\n") == ""


def test_versions_are_those_that_run() -> None:
    told = versions()
    assert told["python"] == sys.version.split()[0]
    assert (told["torch"], told["numpy"]) == (torch.__version__, np.__version__)
    assert set(machine()) == {"architecture", "processor", "instructions"}
    assert machine() == machine()


def test_what_changed_is_named_and_nothing_else() -> None:
    assert differences({"torch": "2.4", "numpy": "2"}, {"torch": "2.5", "numpy": "2"}) == "torch 2.4, now 2.5"
    assert differences({"torch": "2.4"}, {"torch": "2.4"}) == ""
