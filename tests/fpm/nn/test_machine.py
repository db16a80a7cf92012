"""Libraries and machine of a training, against what the libraries themselves say."""

import sys

import numpy as np
import torch

from fpm.nn.machine import differences, machine, versions


def test_versions_are_those_that_run() -> None:
    installed = versions()
    assert installed["python"] == sys.version.split()[0]
    assert (installed["torch"], installed["numpy"]) == (torch.__version__, np.__version__)
    assert set(machine()) == {"architecture", "processor", "instructions", "arithmetic"}
    assert machine() == machine()


def test_what_changed_is_named_and_nothing_else() -> None:
    assert differences({"torch": "2.4", "numpy": "2"}, {"torch": "2.5", "numpy": "2"}) == "torch 2.4, now 2.5"
    assert differences({"torch": "2.4"}, {"torch": "2.4"}) == ""
