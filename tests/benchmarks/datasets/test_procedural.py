import json
import pickle

import numpy as np
import pytest
from helpers.leaning_session import LeaningSession

from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.datasets.affectnet_pickle import is_consistent, read_affectnet
from emonet_deploy.benchmarks.datasets.procedural import _Labels, make_procedural
from emonet_deploy.benchmarks.metrics import paper_metrics as metrics
from emonet_deploy.emonet_ref.constants import PUBLISHED
from emonet_deploy.errors import DatasetError

GAIN = 30.0
N = 40


@pytest.fixture(scope="module", params=[5, 8])
def made(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "procedural"
    told = []
    session = LeaningSession(request.param, gain=GAIN)
    make_procedural(root, session, N, progress=lambda *x: told.append(x))
    assert told[-1] == (N, N)
    return root, session


def test_every_sample_survives_the_papers_cleaning(made):
    root, session = made
    dataset = read_affectnet(root, session.info.nclass)
    assert len(dataset) == N
    assert len(list(root.glob("test/*/*.png"))) == N
    assert sorted(p.name for p in root.iterdir()) == ["about.json", "test", "test_fullpath.pkl"]


def test_the_reference_scores_about_what_the_paper_prints(made):
    root, session = made
    run = evaluate(session, read_affectnet(root, session.info.nclass))
    found, paper = metrics.accuracy(run.truth, run.prediction), PUBLISHED[session.info.nclass]
    assert pytest.approx(paper.ACC, abs=0.03) == found.ACC
    for axis in ("valence", "arousal"):
        ours, theirs = getattr(found, axis), getattr(paper, axis)
        assert pytest.approx(theirs.CCC, abs=0.15) == ours.CCC
        assert pytest.approx(theirs.PCC, abs=0.15) == ours.PCC


def test_the_pickle_is_plain_python(made):
    root, _ = made
    written = (root / "test_fullpath.pkl").read_bytes()
    assert b"numpy" not in written
    records = pickle.loads(written)
    record = next(iter(records.values()))
    assert set(record) == {
        "expression", "expression_correct", "valence", "arousal", "landmarks_fan",
    }  # fmt: skip
    assert np.array(record["landmarks_fan"]).shape == (68, 2)
    assert json.loads((root / "about.json").read_text())["procedural"] is True


def test_the_same_seed_makes_the_same_set(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_procedural(tmp_path / name, LeaningSession(gain=GAIN), 3, seed)
    for file in ("test_fullpath.pkl", "test/0/000002.png"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b
        assert a != c


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path):
    (tmp_path / "test_fullpath.pkl").write_bytes(b"precious")
    with pytest.raises(DatasetError, match="not empty"):
        make_procedural(tmp_path, LeaningSession(), 1)
    assert (tmp_path / "test_fullpath.pkl").read_bytes() == b"precious"


class Stuck(LeaningSession):
    """Sees every face as happy, and its valence as negative."""

    def _run(self, images):
        n = len(images)
        outputs = super()._run(images)
        logits = np.tile(np.eye(8, dtype=np.float32)[1], (n, 1))
        emotion = np.full(n, -0.5, np.float32)
        return {**outputs, "expression": logits, "valence": emotion, "arousal": emotion}


def test_a_model_whose_outputs_never_vary_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(DatasetError, match="vary too little"):
        make_procedural(tmp_path / "x", Stuck(), 2)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_procedural(tmp_path / "x", LeaningSession(gain=GAIN), 5, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_filled(tmp_path):
    make_procedural(tmp_path, LeaningSession(gain=GAIN), 1)
    assert len(read_affectnet(tmp_path)) == 1


def test_what_cannot_be_written_is_told_before_a_face_is_drawn(tmp_path):
    def drawn(done, total):
        pytest.fail("the work was done for nothing")

    (tmp_path / "file").touch()
    for name in ("file", "file/below", "a" * 300, "a\0"):
        with pytest.raises(DatasetError, match=r"(cannot write|not empty)"):
            make_procedural(tmp_path / name, LeaningSession(gain=GAIN), 1, progress=drawn)


def test_only_one_process_at_a_time_fills_a_folder(tmp_path):
    def once_more(done, total):
        with pytest.raises(DatasetError, match="another process is writing"):
            make_procedural(tmp_path / "x", LeaningSession(gain=GAIN), 1)

    make_procedural(tmp_path / "x", LeaningSession(gain=GAIN), 1, progress=once_more)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("n", [0, -1])
def test_a_set_has_at_least_one_sample(tmp_path, n):
    with pytest.raises(DatasetError, match="at least one sample"):
        make_procedural(tmp_path / "x", LeaningSession(gain=GAIN), n)


@pytest.mark.parametrize("nclass", [5, 8])
def test_labels_lie_around_the_outputs_as_the_papers_figures_say(nclass):
    """Of many predictions: the share that is right, and the correlation of what was kept."""
    rng = np.random.default_rng(0)
    n = 4000
    # As wide as valence and arousal may be without being clipped often.
    emotion = rng.normal(0, 0.35, (n, 2)).clip(-0.9, 0.9)
    outputs = np.column_stack([rng.integers(0, nclass, n), emotion])
    labels = _Labels(nclass, outputs, np.random.default_rng(1))
    drawn = [labels.draw(*row) for row in outputs]
    kept = [(row, label) for row, label in zip(outputs, drawn, strict=True) if label is not None]
    own = sorted([0, 1, 2, 3, 6] if nclass == 5 else range(8))
    right = np.array([own[int(row[0])] == label[0] for row, label in kept])
    assert right.mean() == pytest.approx(PUBLISHED[nclass].ACC, abs=0.01)
    assert all(is_consistent(*label) for _, label in kept)
    assert {label[0] for _, label in kept} == set(own)
    made = np.array([label[1:] for _, label in kept])
    guess = np.array([row[1:] for row, _ in kept])
    assert np.abs(made).max() <= 1
    for axis, name in enumerate(("valence", "arousal")):
        paper = getattr(PUBLISHED[nclass], name)
        assert np.corrcoef(made[:, axis], guess[:, axis])[0, 1] == pytest.approx(
            paper.PCC, abs=0.12
        )
        assert made[:, axis].std() == pytest.approx(guess[:, axis].std(), rel=0.25)


def test_paths_are_numbered_and_the_record_says_what_made_them(tmp_path):
    told = []
    make_procedural(tmp_path, LeaningSession(gain=GAIN), 2, 7, lambda *counts: told.append(counts))
    records = pickle.loads((tmp_path / "test_fullpath.pkl").read_bytes())
    assert list(records) == ["0/000000.png", "0/000001.png"]
    assert all((tmp_path / "test" / path).is_file() for path in records)
    about = json.loads((tmp_path / "about.json").read_text())
    assert about == {"procedural": True, "checkpoint": "standin", "nclass": 8, "n": 2, "seed": 7}
    assert told[-1] == (2, 2)
    assert all(record["expression_correct"] is True for record in records.values())
