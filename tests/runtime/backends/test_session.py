import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from helpers.fake_session import FakeSession
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.errors import ArtifactError, BackendError, InputError
from emonet_deploy.runtime.backends.registry import backends_of, load_session
from emonet_deploy.runtime.pipeline.artifact_interfaces import results

CROP = (3, 256, 256)


def test_a_batch_over_the_maximum_is_split_and_joined_in_order():
    images = np.random.default_rng(0).random((7, *CROP), np.float32)
    with FakeSession(max_batch=3) as split, FakeSession() as whole:
        parts, together = split.run(images), whole.run(images)
        assert split.batches == [3, 3, 1]
    for name, values in together.items():
        np.testing.assert_array_equal(parts[name], values)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((0, *CROP), np.float32), "empty"),
        (np.zeros(CROP, np.float32), "N x 3 x 256 x 256"),
        (np.zeros((1, 256, 256, 3), np.float32), "1 x 256 x 256 x 3"),
        (np.zeros((1, *CROP), np.uint8), "float32, not uint8"),
        (np.zeros((1, *CROP), np.float64), "float32, not float64"),
        (np.full((1, *CROP), np.nan, np.float32), "NaN"),
        (np.full((1, *CROP), np.inf, np.float32), "infinity"),
        ([[1.0]], "not list"),
        (np.float32(1), "not"),
    ],
)
def test_bad_images_are_refused_in_one_line_before_the_backend_sees_them(images, words):
    session = FakeSession()
    with pytest.raises(InputError, match=words) as caught:
        session.run(images)
    assert "\n" not in str(caught.value)
    assert session.batches == []


@given(st.lists(st.integers(0, 5), max_size=5), st.sampled_from(["f2", "f4", "f8", "u1", "i8"]))
def test_any_other_shape_is_an_input_error(shape, dtype):
    with pytest.raises(InputError):
        FakeSession().run(np.zeros(shape, dtype))


def test_a_closed_session_says_so():
    session = FakeSession()
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(np.zeros((1, *CROP), np.float32))


def test_the_image_interface_takes_pixels():
    session = FakeSession(interface="image")
    assert session.run(np.zeros((2, 256, 256, 3), np.uint8))["landmarks"].shape == (2, 68, 3)
    with pytest.raises(InputError, match="uint8"):
        session.run(np.zeros((2, 256, 256, 3), np.float32))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("missing.onnx", ArtifactError, "no ONNX model"),
        ("model.tflite", InputError, "cannot tell"),
        ("missing.plan", ArtifactError, "no artifact"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path, name, error, words):
    with pytest.raises(error, match=words):
        load_session(tmp_path / name)


def test_options_that_make_no_sense_are_refused(onnx8):
    with pytest.raises(InputError, match="threads"):
        load_session(onnx8, threads=0)
    with pytest.raises(InputError, match="run by the backend onnx or openvino, not"):
        load_session(onnx8, backend="torch")


def test_several_threads_may_use_one_session(onnx8):
    images = np.random.default_rng(1).random((4, *CROP), np.float32)
    results = {}
    with load_session(onnx8, device="cpu", threads=1) as session:
        alone = [session.run(images[i : i + 1])["expression"] for i in range(4)]

        def work(i):
            results[i] = session.run(images[i : i + 1])["expression"]

        workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for i in range(4):
        np.testing.assert_array_equal(results[i], alone[i])


@pytest.mark.parametrize("name", ["w.pth.tar", "w.ckpt", "w.weights", "w"])
def test_a_checkpoint_is_run_whatever_it_is_called(tmp_path, name):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / name)
    assert backends_of(tmp_path / name) == ("torch",)
    (tmp_path / "other.bin").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="cannot tell what"):
        backends_of(tmp_path / "other.bin")


@pytest.mark.parametrize("device", ["gpu", "CUDA", "", "cuda:0"])
def test_a_device_that_does_not_exist_is_an_error_and_no_fallback(onnx8, device):
    with pytest.raises(InputError, match="choose auto, cpu, cuda"):
        load_session(onnx8, device=device)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 2**40, "2"])
def test_threads_are_a_sensible_whole_number(onnx8, threads):
    with pytest.raises(InputError, match="threads must be a whole number"):
        load_session(onnx8, threads=threads)


def test_each_run_of_the_reference_has_the_threads_of_its_own_session():
    """PyTorch has one number for the process: a session opened later must not change it."""
    from helpers import golden

    from emonet_deploy.runtime.backends.pytorch import TorchSession

    model, before, seen = golden.model(8), torch.get_num_threads(), []
    model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    image = np.zeros((1, 3, 256, 256), np.float32)
    try:
        one, two = (TorchSession(model, "standin", "cpu", threads) for threads in (1, 2))
        for session in (one, two, one):
            session.run(image)
        assert seen == [1, 2, 1]
    finally:
        torch.set_num_threads(before)


def test_the_reference_does_not_compute_in_tf32_and_leaves_the_callers_setting():
    torch = pytest.importorskip("torch")
    from helpers import golden

    from emonet_deploy.runtime.backends.pytorch import TorchSession

    seen = []
    model = golden.model(8)
    model.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    with TorchSession(model, "standin", "cpu") as session:
        session.run(np.zeros((1, 3, 256, 256), np.float32))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


class Answering(FakeSession):
    """Gives what the fake gives, with one output put in another's place."""

    def __init__(self, name, change, interface="tensor"):
        super().__init__(interface=interface)
        self._name, self._change = name, change

    def _run(self, images):
        results = super()._run(images)
        return results | {self._name: self._change(results[self._name].copy())}


def spoilt(index, value):
    def change(values):
        values[index] = value
        return values

    return change


@pytest.mark.parametrize(
    ("interface", "name", "change", "words"),
    [
        ("tensor", "valence", spoilt(1, np.nan), "'valence' holds NaN"),
        ("tensor", "expression", spoilt((0, 3), np.inf), "'expression' holds NaN or infinity"),
        ("tensor", "heatmap", spoilt((1, 5), np.nan), "'heatmap' holds NaN"),
        ("tensor", "expression", lambda x: x[:, :3], "is float32, 2 x 3, where float32, 2 x 8 was"),
        ("tensor", "valence", lambda x: x[:, None], "2 x 1"),
        ("tensor", "valence", lambda x: np.zeros(1000, np.float32), "1000"),
        ("tensor", "arousal", lambda x: x.astype(np.int64), "is int64"),
        ("tensor", "arousal", lambda x: x.astype(str), "is <U"),
        ("image", "valence", lambda x: x + 3, "goes beyond -1 to 1"),
        ("image", "arousal", spoilt(0, -1.5), "goes beyond -1 to 1"),
        ("image", "probabilities", spoilt((0, 0), -0.5), "shares"),
        ("image", "probabilities", lambda x: 2 * x, "shares"),
        ("image", "landmarks", spoilt((0, 67, 2), np.nan), "'landmarks' holds NaN"),
    ],
)
def test_a_model_that_returns_nonsense_is_not_believed(interface, name, change, words):
    shape = CROP if interface == "tensor" else (256, 256, 3)
    kind = np.float32 if interface == "tensor" else np.uint8
    with pytest.raises(BackendError, match=words) as caught:
        Answering(name, change, interface).run(np.zeros((2, *shape), kind))
    assert "emonet parity" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_peak_that_is_not_finite_is_seen_where_landmarks_are_read():
    session = Answering("heatmap", spoilt((0, 3, 9, 9), np.nan))  # in a row that is skipped
    with pytest.raises(BackendError, match="heatmaps hold NaN"):
        results(session.run(np.zeros((1, *CROP), np.float32)))


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_stays_in_its_process_and_says_what_to_do(how):
    with pytest.raises(BackendError, match=r"load_session\(path\)") as caught:
        how(FakeSession())
    assert "\n" not in str(caught.value)
