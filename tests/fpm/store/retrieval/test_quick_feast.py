"""Feast works as ever, only sooner; every case is a process of its own, because an import happens once."""

from __future__ import annotations

import subprocess
import sys

import pytest

TENSORS = """
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse as Answer
from feast.protos.feast.types.Value_pb2 import Value
answer = Answer(results=[Answer.FeatureVector(values=[Value(float_val=0.5), Value()])])
answer.metadata.feature_names.val.append("x")
tensor = OnlineResponse(answer).to_tensor(default_value=7.0)["x"]
import torch
assert isinstance(tensor, torch.Tensor) and tensor.tolist() == [0.5, 7.0]
"""
QUICK = """
import sys, typeguard
checked = typeguard.typechecked
import fpm.store.retrieval.features, fpm.store.http.server
assert "torch" not in sys.modules and typeguard.typechecked is checked
"""
AFTER_FEAST = """
import feast, typeguard, fpm.store.retrieval.features
try:
    feast.Entity(name=3)
except typeguard.TypeCheckError:
    pass
else:
    raise SystemExit("Feast was imported before, with its checks")
"""


@pytest.mark.parametrize(
    "program",
    [QUICK + TENSORS, "import torch, fpm.store.retrieval.features\n" + TENSORS, AFTER_FEAST + TENSORS],
    ids=["alone", "after torch", "after Feast"],
)
def test_feast_works_whatever_was_imported_before(program: str) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
