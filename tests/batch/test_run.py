"""What decides over the rows of a run, and how its stages are laid out on Ray."""

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.batch.actor import Reading
from emonet_deploy.batch.cluster import Cluster, Node
from emonet_deploy.batch.listing import RunFolder, model_hash
from emonet_deploy.batch.run import Workers, _stages, run_batch, run_settings, write_rows
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.metadata import read_info


@pytest.fixture
def model(tmp_path):
    return str(write_tiny(tmp_path / "tiny.onnx"))


def test_what_changes_rows_decides_and_what_changes_their_speed_does_not(model):
    info = read_info(model)
    plain = run_settings(Reading(model, detector="none"), info)
    assert plain["model"] == model_hash(model)
    assert not {"threads", "device", "batch"} & set(plain)
    for same in ({"threads": 2}, {"device": "cuda"}, {"batch": 8}):
        assert run_settings(Reading(model, detector="none", **same), info) == plain
    for other in ({"every": 2}, {"landmarks": True}, {"memory": 1.0}, {"smooth": "none"}):
        assert run_settings(Reading(model, detector="none", **other), info) != plain


def test_detectors_and_models_are_told_by_what_they_are(model, tmp_path):
    info = read_info(model)
    auto = run_settings(Reading(model, detector="auto"), info)
    assert auto["detector"].startswith("auto: ")
    (tmp_path / "d.onnx").write_bytes(b"d")
    own = Reading(model, detector="auto", detector_model=str(tmp_path / "d.onnx"))
    found = run_settings(own, info)
    assert found["detector_model"] == model_hash(str(tmp_path / "d.onnx"))
    assert found["detector"] == "auto"
    served = run_settings(Reading("http://host:1/m", detector="none"), info)
    assert served["model"] == info.to_json()


def test_a_run_that_is_complete_starts_nothing(model, tmp_path):
    out = RunFolder.of(str(tmp_path / "out"))
    reading, info = Reading(model, detector="none"), read_info(model)
    out.freeze(["a"], run_settings(reading, info))
    out.finish()
    nowhere = Cluster(address="127.0.0.1:1")
    write_rows(out, 1, Workers((), None), nowhere)
    (tmp_path / "out" / "rows").mkdir()
    with pytest.raises(InputError, match="holds a run with another crop"):
        run_batch([], out.uri, Reading(model, detector="none", crop="stretch"), info, nowhere)


TWO = Workers(("how",), alone=object(), finder=object(), reader=object())
ONE = Workers(("how",), alone=object())


@pytest.mark.parametrize(
    ("workers", "node", "cluster", "expected"),
    [
        (ONE, Node(9), Cluster(), [("alone", 8, 1, 0)]),
        (ONE, Node(9), Cluster(cpus=2), [("alone", 4, 2, 0)]),
        (ONE, Node(9, 2), Cluster(gpus=1), [("alone", 2, 1, 1)]),
        (TWO, Node(9), Cluster(), [("alone", 8, 1, 0)]),
        (TWO, Node(9), Cluster(finders=3), [("finder", 3, 1, None), ("reader", 5, 1, 0)]),
        (TWO, Node(9, 2), Cluster(gpus=1), [("finder", 6, 1, None), ("reader", 2, 0, 1)]),
        (TWO, Node(9, 2), Cluster(gpus=1, finders=0), [("alone", 2, 1, 1)]),
    ],
)
def test_a_run_has_one_stage_or_two(workers, node, cluster, expected):
    """Each: the class, how many of it at most, CPUs and GPUs of each."""
    pytest.importorskip("ray.data")
    found = _stages(workers, [node], cluster)
    for (made, options), (name, most, cpus, gpus) in zip(found, expected, strict=True):
        assert made is getattr(workers, name)
        pool = options["compute"]
        assert (pool.min_size, pool.max_size) == (1, most)
        assert (options["num_cpus"], options.get("num_gpus")) == (cpus, gpus)
        assert options["batch_size"] == cluster.block
        assert options["fn_constructor_args"] == ("how",)
        assert options["udf_modifying_row_count"] is False
