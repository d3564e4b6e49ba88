import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.benchmarks.parity.compare import check_parity, compare
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import InputError, ParityError
from emonet_deploy.runtime.backends.pytorch import TorchSession
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.pipeline.artifact_interfaces import results
from emonet_deploy.runtime.precision_specs import Gates, gates_of

CROPS = crops(make_faces(20, PARITY_SEED))


class Disturbed(FakeSession):
    """A session that is off by a known error in one output."""

    def __init__(self, output, error, **options):
        super().__init__(**options)
        self.output, self.error = output, error

    def _run(self, images):
        outputs = super()._run(images)
        outputs[self.output] = outputs[self.output] + np.float32(self.error)
        return outputs


def test_equal_sessions_agree_perfectly():
    result = compare(FakeSession(), FakeSession(), CROPS, gates_of("fp32"))
    assert result.passed
    assert result.agreement == 1
    assert result.ccc_valence == pytest.approx(1)
    for difference in result.outputs.values():
        assert difference.max_abs == 0
        assert difference.snr_db is None
        assert difference.cosine == pytest.approx(1)


def test_differences_are_those_of_the_textbook():
    truth, made = FakeSession(), Disturbed("heatmap", 0.25)
    result = compare(truth, made, CROPS, Gates())
    arrays = [s.run(np.stack([c / np.float32(255) for c in CROPS]).transpose(0, 3, 1, 2).astype(
        np.float32))["heatmap"].astype(np.float64) for s in (truth, made)]  # fmt: skip
    g, p = arrays
    difference = result.outputs["heatmap"]
    assert result.n == 20
    assert difference.max_abs == pytest.approx(0.25, rel=1e-5)
    assert difference.mean_abs == pytest.approx(0.25, rel=1e-5)
    assert difference.spread == pytest.approx(g.std(), rel=1e-6)
    assert difference.cosine == pytest.approx(
        (g * p).sum() / np.sqrt((g**2).sum() * (p**2).sum()), rel=1e-6
    )
    assert difference.snr_db == pytest.approx(10 * np.log10((g**2).sum() / ((g - p) ** 2).sum()))


@pytest.mark.parametrize("output", ["heatmap", "expression", "valence", "arousal"])
def test_an_error_in_any_output_fails_the_float32_gate_and_names_it(output):
    with pytest.raises(ParityError, match=f"max_error_{output}"):
        check_parity(FakeSession(), Disturbed(output, 0.01), CROPS)


def test_the_ccc_gate_sees_a_shift_of_valence():
    made = Disturbed("valence", 0.1, precision="int8")
    result = compare(FakeSession(), made, CROPS, gates_of("int8"))
    assert not result.gates["ccc_valence"].passed
    assert result.gates["ccc_arousal"].passed
    assert result.gates["agreement"].passed


def test_the_agreement_gate_sees_other_classes():
    class Contrary(FakeSession):
        def _run(self, images):
            outputs = super()._run(images)
            outputs["expression"] = -outputs["expression"]
            return outputs

    result = compare(FakeSession(), Contrary(precision="fp16"), CROPS, gates_of("fp16"))
    assert result.agreement == 0
    assert not result.gates["agreement"].passed


def test_embedded_processing_is_compared_after_postprocessing():
    class Embedded(FakeSession):
        def __init__(self):
            super().__init__(interface="image")
            self.inner = FakeSession()

        def _run(self, images):
            tensor = np.float32(images) / np.float32(255)
            return results(self.inner.run(tensor.transpose(0, 3, 1, 2)))

    result = compare(FakeSession(), Embedded(), CROPS, gates_of("fp32"))
    assert list(result.outputs) == ["probabilities", "valence", "arousal", "landmarks"]
    assert result.passed


def test_other_classes_and_no_faces_are_refused():
    with pytest.raises(InputError, match="5 classes"):
        compare(FakeSession(8), FakeSession(5), CROPS, Gates())
    with pytest.raises(InputError, match="at least one face"):
        compare(FakeSession(), FakeSession(), CROPS[:0], Gates())


def test_the_exported_model_passes_the_gates_of_float32(onnx8):
    from helpers import golden

    with (
        TorchSession(golden.model(8), "golden", "cpu") as reference,
        load_session(onnx8, device="cpu") as made,
    ):
        assert check_parity(reference, made, CROPS[:8]).agreement == 1


class Unsure(FakeSession):
    """Changes the class of some faces that are no ties: one in so many."""

    def __init__(self, every, **options):
        super().__init__(**options)
        self.every, self.faces = every, 0

    def _run(self, images):
        outputs = super()._run(images)
        for row in outputs["expression"]:
            self.faces += 1
            if self.faces % self.every == 0:
                row[:] = -row
        return outputs


def test_a_close_decision_is_taken_on_more_faces():
    gates = Gates(agreement=0.9)
    for every, asked in ((7, True), (2, False), (10**9, False)):
        calls = []

        def more(calls=calls):
            calls.append(1)
            return CROPS

        made = Unsure(every, precision="int8")
        result = compare(FakeSession(), made, CROPS, gates, more=more)
        assert (len(calls) == 1) == asked
        assert result.n == (40 if asked else 20)
        gate = result.gates["agreement"]
        assert gate.interval.low <= gate.value <= gate.interval.high


def test_ties_are_told_and_not_held_against_an_artifact():
    """Of two classes that are equal but for a whisper, either is right."""

    class Tied(FakeSession):
        def __init__(self, error, **options):
            super().__init__(**options)
            self.error = error

        def _run(self, images):
            outputs = super()._run(images)
            rows = outputs["expression"]
            rows[:] = np.linspace(0, 1, rows.shape[1]) * np.arange(1, len(rows) + 1)[:, None]
            rows[::4, -2] = rows[::4, -1]  # a tie
            rows[::4, -2] += np.float32(self.error)
            return outputs

    made = Tied(1e-4, precision="fp16")
    result = compare(Tied(-1e-4), made, CROPS, gates_of("fp16"))
    assert result.agreement < 0.99
    assert result.ties >= 5
    assert 0 < result.tie_margin < 0.01
    assert result.gates["agreement"].passed
    json = result.to_dict()
    assert json["ties"] == {"faces": result.ties, "margin": result.tie_margin}
    assert json["gates"]["agreement"]["interval"] == [1, 1]


def test_it_is_told_after_each_batch_and_every_face_runs_once():
    told = []
    reference, made = FakeSession(), FakeSession()
    result = compare(reference, made, CROPS, Gates(), lambda *counts: told.append(counts))
    assert reference.batches == made.batches
    assert sum(made.batches) == result.n == 20
    assert told == list(zip(np.cumsum(made.batches).tolist(), [20] * len(told), strict=True))
    assert max(made.batches) == 8


def test_the_correlations_are_those_of_their_own_axis():
    class Off(FakeSession):
        def _run(self, images):
            outputs = super()._run(images)
            outputs["arousal"] = -outputs["arousal"]
            return outputs

    result = compare(FakeSession(), Off(), CROPS, Gates(ccc=0.5))
    assert result.ccc_valence == pytest.approx(1)
    assert result.ccc_arousal < 0
    assert [gate.passed for gate in result.gates.values()] == [True, False]
    with pytest.raises(
        ParityError, match=r"x does not agree .* on 20 faces: ccc_arousal -\S+ \(gate 0\.5\)"
    ):
        result.require("x")
    json = result.to_dict()
    assert (json["n"], json["passed"]) == (20, False)
    assert json["ccc"] == {"valence": result.ccc_valence, "arousal": result.ccc_arousal}
    assert json["outputs"]["arousal"]["max_abs"] == result.outputs["arousal"].max_abs
    low, high = json["gates"]["ccc_arousal"]["interval"]
    assert low <= result.ccc_arousal <= high


def test_outputs_beyond_the_scale_are_clipped_before_they_are_correlated():
    class Wide(FakeSession):
        def __init__(self, by, **options):
            super().__init__(**options)
            self.by = by

        def _run(self, images):
            outputs = super()._run(images)
            outputs["valence"] = np.sign(outputs["valence"]) * np.float32(self.by)
            return outputs

    crops = np.concatenate([np.zeros_like(CROPS[:2]), np.full_like(CROPS[:2], 255)])
    result = compare(Wide(1.0), Wide(5.0), crops, Gates(ccc=0.99))
    assert result.ccc_valence == pytest.approx(1)
    assert result.outputs["valence"].max_abs == 4


def test_what_is_not_finite_fails_and_has_no_interval():
    from emonet_deploy.benchmarks.parity.compare import _intervals
    from emonet_deploy.benchmarks.parity.ties import count_equal

    scores = np.eye(3)
    emotions = np.zeros((3, 2)), np.array([[0.0, np.nan]] * 3)
    agreement = count_equal(scores, scores, Gates())
    assert _intervals((scores, scores), emotions, agreement) == {}
    found = _intervals((scores, scores), (emotions[0], emotions[0]), agreement)
    assert set(found) == {"ccc_valence", "ccc_arousal", "agreement"}
