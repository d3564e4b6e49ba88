"""Every parser of our own, on bytes that are nearly right: minutes of it, in `make test-slow`."""

import io
import json
import pickle

import numpy as np
import pytest
import torch
from helpers.tiny_model import write_tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emonet_deploy.benchmarks.datasets.affectnet_pickle import read_affectnet
from emonet_deploy.benchmarks.datasets.load import read_dataset
from emonet_deploy.emonet_ref.checkpoint import identify_checkpoint, load_checkpoint
from emonet_deploy.errors import EmonetError
from emonet_deploy.runtime.metadata import ModelInfo, read_info, sidecar_path, tensors_of

LANDMARKS = np.linspace([10.0, 20.0], [60.0, 90.0], 68)


def saved(legacy):
    file = io.BytesIO()
    content = {
        "state_dict": {"module.emo_fc_2.3.weight": torch.zeros(10, 2)},
        "best": np.float64(1),
    }
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def model(folder, content):
    (folder / "m.onnx").write_bytes(content)
    read_info(folder / "m.onnx")


def record(folder, content):
    (folder / "m.plan").write_bytes(b"engine")
    sidecar_path(folder / "m.plan").write_bytes(content)
    read_info(folder / "m.plan")


def checkpoint(folder, content):
    (folder / "c.pth").write_bytes(content)
    identify_checkpoint(folder / "c.pth")
    load_checkpoint(folder / "c.pth")


def annotations(folder, content):
    (folder / "test").mkdir()
    (folder / "test_fullpath.pkl").write_bytes(content)
    read_affectnet(folder)


def table(folder, content):
    (folder / "t.csv").write_bytes(content)
    read_dataset(folder / "t.csv")


def clip(folder, content):
    (folder / "001").mkdir()
    (folder / "001" / "001.json").write_bytes(content)
    (folder / "001" / "0.png").write_bytes(b"")
    read_dataset(folder)


def video(folder, content):
    (folder / "v.txt").write_bytes(content)
    read_dataset(folder)


HAPPY = {"expression": 1, "expression_correct": True, "valence": 0.5, "arousal": 0.1}
FRAME = {"valence": 3, "arousal": -2, "landmarks": LANDMARKS.tolist()}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    inputs, outputs = tensors_of(8, "tensor")
    info = ModelInfo(8, "standin", inputs=inputs, outputs=outputs)
    pickled = {"a.png": {**HAPPY, "landmarks_fan": LANDMARKS}}
    return {
        model: write_tiny(tmp_path_factory.mktemp("seed") / "m.onnx").read_bytes(),
        record: info.to_json().encode(),
        checkpoint: saved(legacy=False),
        annotations: pickle.dumps(pickled, 2),
        table: b"path,expression,valence,arousal,x0,y0,x1,y1\na.png,1,0.5,0.5,1,2,30,40\n",
        clip: json.dumps({"frames": {"0": FRAME}}).encode(),
        video: b"valence,arousal\n0.5,0.5\n-5,-5\n",
    }


PIECES = st.binary(max_size=12) | st.sampled_from(
    [b"\xff\xff\xff\xff", b"\x00" * 8, b"9" * 400, b'"', b"\n", b"[" * 2000, b"-2", b"1e999", b"("]
)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=5)


@pytest.mark.slow
@pytest.mark.parametrize("read", [model, record, checkpoint, annotations, table, clip, video])
def test_bytes_that_are_nearly_right_are_read_or_are_one_kind_of_error(
    read, seeds, tmp_path_factory
):
    @settings(
        max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(CHANGES)
    def fuzz(changes):
        content = bytearray(seeds[read])
        for at, length, piece in changes:
            # Half of the changes at the start, where what is described lies.
            start = int(at * len(content)) if length % 2 else int(at * min(len(content), 600))
            content[start : start + length] = piece
        try:
            read(tmp_path_factory.mktemp("fuzz"), bytes(content))
        except EmonetError as error:
            assert len(str(error)) < 3000  # noqa: PT017 - most, but not all, are damaged

    fuzz()
