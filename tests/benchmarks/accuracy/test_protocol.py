import threading
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers.leaning_session import LeaningSession
from torch import nn

from emonet_deploy.benchmarks.accuracy.predictions_file import PredictionFile
from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.metrics import paper_metrics as metrics
from emonet_deploy.emonet_ref.model import EmoNetOutput
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.backends.pytorch import TorchSession

BOX = (30.0, 20.0, 90.0, 70.0)


@pytest.fixture
def make(tmp_path):
    """Write n random pictures and return them as a data set."""

    def make(n, nclass=8, box=BOX, seed=0):
        rng = np.random.default_rng(seed)
        samples = []
        for number in range(n):
            coarse = rng.integers(0, 256, (4, 5, 3), np.uint8)
            cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(coarse, (120, 96)))
            emotion = rng.uniform(-1, 1, 2)
            samples.append(Sample(f"{number}.png", number % nclass, *emotion, box))
        return Dataset("faces", tmp_path, nclass, tuple(samples))

    return make


def written_out(model, dataset, flip):
    """The protocol in its plainest words, with nothing of the toolkit but the network."""
    rows = []
    for sample in dataset.samples:
        bgr = cv2.imread(str(dataset.pictures / sample.path))
        rgb = bgr[:, :, [2, 1, 0]]
        x0, y0, x1, y1 = sample.box
        side = 200 * (x1 - x0 + y1 - y0) / 220
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        zoom = 256 / side
        matrix = np.array([[zoom, 0, 128 - cx * zoom], [0, zoom, 128 - cy * zoom]])
        crop = cv2.warpAffine(rgb, matrix, (256, 256))
        face = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            _, logits, v, a = model(face)
            _, _, v2, a2 = model(face.flip(3))
        emotion = [(v + v2) / 2, (a + a2) / 2] if flip else [v, a]
        rows.append([int(logits.argmax()), *(float(e.clip(-1, 1)) for e in emotion)])
    return np.array(rows)


class Net(nn.Module):
    """A network of EmoNet's signature, small, whose outputs differ for a picture's mirror image."""

    def __init__(self, nclass):
        super().__init__()
        torch.manual_seed(nclass)
        self.nclass = nclass
        self.conv = nn.Conv2d(3, 8, 32, 32)
        self.head = nn.Linear(8 * 8 * 8, nclass + 2)
        with torch.no_grad():
            self.head.weight *= 25

    def forward(self, x):
        y = self.head(torch.relu(self.conv(x)).flatten(1))
        heatmap = torch.zeros(len(x), 68, 64, 64)
        return EmoNetOutput(heatmap, y[:, : self.nclass], y[:, self.nclass], y[:, self.nclass + 1])


@pytest.mark.parametrize("nclass", [5, 8])
@pytest.mark.parametrize("flip", [True, False])
def test_the_protocol_is_the_papers(make, nclass, flip):
    model, dataset = Net(nclass), make(31, nclass)
    session = TorchSession(model, "standin", "cpu")
    found = evaluate(session, dataset, flip=flip, batch=6)
    expected = written_out(model, dataset, flip)
    assert len(set(expected[:, 0])) >= 4
    assert np.abs(expected[:, 1:]).max() == 1
    assert found.prediction.expression.tolist() == expected[:, 0].tolist()
    assert np.abs(found.prediction.valence - expected[:, 1]).max() < 1e-5
    assert np.abs(found.prediction.arousal - expected[:, 2]).max() < 1e-5


@pytest.mark.parametrize("interface", ["tensor", "image"])
def test_valence_and_arousal_are_averaged_over_the_flip_but_the_class_is_not(make, interface):
    dataset = make(9)
    session = LeaningSession(interface=interface, gain=1.0)
    plain, flipped = (evaluate(session, dataset, flip=flip, batch=4) for flip in (False, True))
    assert np.array_equal(plain.prediction.expression, flipped.prediction.expression)
    assert not np.allclose(plain.prediction.valence, flipped.prediction.valence, atol=1e-3)
    other = LeaningSession(interface="tensor", gain=1.0)
    same = evaluate(other, dataset, flip=True, batch=9)
    assert np.allclose(same.prediction.valence, flipped.prediction.valence, atol=1e-7)
    assert np.array_equal(same.prediction.expression, flipped.prediction.expression)


def test_the_mean_is_clipped_and_not_its_parts(make):
    dataset = make(20)
    found = evaluate(LeaningSession(gain=40.0), dataset, batch=8).prediction
    half = evaluate(LeaningSession(gain=20.0), dataset, batch=8).prediction
    loose = np.abs(found.valence) < 1
    assert np.allclose(half.valence[loose] * 2, found.valence[loose], atol=1e-6)
    assert np.abs(found.valence).max() == 1


@pytest.mark.parametrize("n", [1, 4, 9])
def test_every_sample_is_run_once_whatever_is_left_for_the_last_batch(make, n):
    session, dataset, told = LeaningSession(), make(n), []
    found = evaluate(session, dataset, flip=False, batch=4, progress=lambda *x: told.append(x))
    assert found.numbers.tolist() == list(range(n))
    assert sum(session.batches) == n
    assert session.batches == [4] * (n // 4) + [n % 4] * (n % 4 > 0)
    assert told[-1] == (n, n)
    assert found.truth.expression.tolist() == [s.expression for s in dataset.samples]
    assert found.truth.valence.tolist() == [s.valence for s in dataset.samples]


def test_samples_without_a_box_are_resized(make):
    dataset = make(4, box=None)
    found = evaluate(LeaningSession(), dataset, flip=False)
    boxed = evaluate(LeaningSession(), make(4), flip=False)
    assert not np.allclose(found.prediction.valence, boxed.prediction.valence, atol=1e-3)


def test_pictures_that_cannot_be_used_are_listed_and_the_run_goes_on(make):
    dataset = make(9)
    (dataset.pictures / "2.png").unlink()
    (dataset.pictures / "5.png").write_bytes(b"no picture")
    found = evaluate(LeaningSession(), dataset, batch=2)
    assert found.numbers.tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert len(found.truth) == len(found.prediction) == 7
    assert [m.path for m in found.missing] == ["2.png", "5.png"]
    assert "no picture at" in found.missing[0].reason
    assert found.truth.valence.tolist() == [dataset.samples[i].valence for i in found.numbers]


def test_a_run_without_one_usable_picture_is_an_error(make):
    dataset = make(3)
    for sample in dataset.samples:
        (dataset.pictures / sample.path).unlink()
    with pytest.raises(DatasetError, match="not one of the 3 pictures"):
        evaluate(LeaningSession(), dataset)


def test_a_model_of_other_classes_is_refused(make):
    with pytest.raises(InputError, match="5 classes"):
        evaluate(LeaningSession(5), make(1))


class Failing(LeaningSession):
    """Fails, as if killed, after some batches."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def _run(self, images):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super()._run(images)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_interrupted_run_goes_on_without_losing_or_repeating_a_sample(make, tmp_path, ending):
    dataset = make(11)
    path = tmp_path / f"out.{ending}"
    whole = evaluate(LeaningSession(), dataset, batch=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Failing(5), dataset, batch=2, predictions=PredictionFile(path, dataset, {}))
    again = LeaningSession()
    found = evaluate(again, dataset, batch=2, predictions=PredictionFile(path, dataset, {}))
    assert found.fresh == 11 - 4
    assert sum(again.batches) == 2 * found.fresh
    assert found.numbers.tolist() == list(range(11))
    for axis in ("expression", "valence", "arousal"):
        assert np.array_equal(getattr(found.prediction, axis), getattr(whole.prediction, axis))
    assert metrics.accuracy(found.truth, found.prediction) == metrics.accuracy(
        whole.truth, whole.prediction
    )
    third = LeaningSession()
    same = evaluate(third, dataset, predictions=PredictionFile(path, dataset, {}))
    assert (same.fresh, third.batches) == (0, [])
    assert np.array_equal(same.prediction.valence, whole.prediction.valence)


def test_pictures_that_were_missing_are_tried_again(make, tmp_path):
    dataset = make(4)
    kept = (dataset.pictures / "1.png").read_bytes()
    (dataset.pictures / "1.png").unlink()
    path = tmp_path / "out.parquet"
    first = evaluate(LeaningSession(), dataset, predictions=PredictionFile(path, dataset, {}))
    assert (first.fresh, len(first.missing)) == (3, 1)
    (dataset.pictures / "1.png").write_bytes(kept)
    second = evaluate(LeaningSession(), dataset, predictions=PredictionFile(path, dataset, {}))
    assert (second.fresh, second.missing) == (1, ())
    assert second.numbers.tolist() == [0, 1, 2, 3]


def test_threads_are_gone_when_the_run_fails(make):
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Failing(1), make(40), batch=2, workers=3)
    assert threading.active_count() == before


def peak_memory(dataset, path):
    """Peak of what Python and NumPy allocate, in bytes, in a run that keeps its predictions."""
    tracemalloc.start()
    try:
        kept = PredictionFile(path, dataset, {})
        evaluate(LeaningSession(), dataset, batch=8, predictions=kept)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_samples(make, tmp_path):
    few = make(8)
    sizes = [replace(few, samples=few.samples * times) for times in (15, 75)]
    peaks = [peak_memory(dataset, tmp_path / f"{len(dataset)}.csv") for dataset in sizes]
    # 480 more samples; their crops would be 380 MB as tensors, a batch on its way is 13.
    assert peaks[1] - peaks[0] < 40e6


@pytest.mark.slow
def test_20000_rows_stay_far_below_a_gigabyte(make, tmp_path):
    few = make(8)
    dataset = replace(few, samples=few.samples * 2500)
    assert peak_memory(dataset, tmp_path / "x.csv") < 300e6
