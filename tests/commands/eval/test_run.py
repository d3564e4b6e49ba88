"""What `emonet eval` is composed of, on sessions that need no time."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.commands.eval import run as run_module
from emonet_deploy.commands.eval.options import Gates, Samples
from emonet_deploy.commands.eval.run import Evaluated, run_eval
from emonet_deploy.errors import InputError

N = 20


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of pictures of growing lightness; labels are drawn."""
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "home"))
    lines = ["path,expression,valence,arousal"]
    rng = np.random.default_rng(2)
    for i in range(N):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((64, 64, 3), 12 * i + 5, np.uint8))
        valence, arousal = rng.uniform(-1, 1, 2).round(3)
        lines.append(f"{i}.png,{i % 8},{valence},{arousal}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "m.onnx").write_bytes(b"never loaded")
    return path


@contextlib.contextmanager
def bar(label):
    yield lambda done, total: None


class Here:
    """Runs an evaluation and remembers what was said and loaded."""

    def __init__(self, folder, **sessions):
        self.said, self.loaded, self.sessions = [], [], sessions
        self.artifact = folder / "m.onnx"

    def load(self, path, backend):
        self.loaded.append((str(path), backend))
        return self.sessions.get(Path(path).name.partition(".")[0], FakeSession())

    def run(self, samples, gates=None, **judged):
        judged = Evaluated(judged.pop("artifact", self.artifact), **judged)
        gates = gates or Gates()
        return run_eval(judged, samples, gates, self.load, self.said.append, bar)


def test_every_sample_is_run_both_ways_unless_told_otherwise(table, tmp_path):
    session = FakeSession()
    summary = Here(tmp_path, m=session).run(Samples(data=table))
    assert len(summary.run.prediction) == N
    assert sum(session.batches) == 2 * N
    plain = FakeSession()
    Here(tmp_path, m=plain).run(Samples(data=table, flip=False, batch=6))
    assert plain.batches == [6, 6, 6, 2]


def test_only_the_first_samples_are_run_where_a_limit_is_set(table, tmp_path):
    session = FakeSession()
    summary = Here(tmp_path, m=session).run(Samples(data=table, flip=False, limit=3))
    assert len(summary.run.prediction) == sum(session.batches) == 3


def test_another_number_of_classes_than_asked_for_is_told(table, tmp_path):
    with pytest.raises(InputError, match="has 8 classes, not 5; drop --nclass"):
        Here(tmp_path).run(Samples(data=table), nclass=5)
    for asked in (None, 8):
        assert Here(tmp_path).run(Samples(data=table), nclass=asked).published is None


def test_the_papers_row_stands_beside_the_papers_data_or_where_it_is_asked_for(table, tmp_path):
    here = Here(tmp_path)
    assert here.run(Samples(data=table)).published is None
    assert not any("AffectNet" in line for line in here.said)
    checked = here.run(Samples(data=table), Gates(check="published"))
    assert checked.published.by_name()["expression ACC"] == 0.75
    assert set(checked.check) == set(checked.published.by_name())
    assert any("is not the AffectNet" in line for line in here.said)
    far = here.run(Samples(data=table), Gates(check="published", tolerance=2.0))
    assert all(v.passed for v in far.check.values() if v.value is not None)
    assert not all(verdict.passed for verdict in checked.check.values())


def test_weights_are_named_by_what_made_the_artifact_else_by_its_record(table, tmp_path):
    assert Here(tmp_path).run(Samples(data=table)).model["checkpoint"] == "standin"
    made = SimpleNamespace(identity="sha256:1", path=tmp_path / "w.pth")
    named = Here(tmp_path).run(Samples(data=table), made=made)
    assert named.model["checkpoint"] == "sha256:1"


def test_it_is_compared_with_the_checkpoint_it_was_made_from_or_with_another_file(table, tmp_path):
    made = SimpleNamespace(identity="standin", path=tmp_path / "w.pth")
    here = Here(tmp_path)
    summary = here.run(Samples(data=table), Gates(against="reference"), made=made)
    assert here.loaded == [(str(here.artifact), None), (str(made.path), None)]
    assert summary.against is not None
    here = Here(tmp_path)
    other = str(tmp_path / "other.onnx")
    here.run(Samples(data=table), Gates(against=other), backend="openvino")
    assert here.loaded == [(str(here.artifact), "openvino"), (other, None)]
    assert Here(tmp_path).run(Samples(data=table)).against is None


def test_a_checkpoint_is_its_own_reference(table, tmp_path):
    session = FakeSession()
    session.backend = "torch"
    here = Here(tmp_path, m=session)
    here.run(Samples(data=table), Gates(against="reference"))
    assert [path for path, _ in here.loaded] == [str(here.artifact)] * 2


def test_a_kept_run_goes_on_with_the_same_file_and_settings_only(table, tmp_path):
    samples = Samples(data=table, predictions=tmp_path / "p.csv")
    Here(tmp_path).run(samples)
    session = FakeSession()
    again = Here(tmp_path, m=session).run(samples)
    assert session.batches == []
    assert len(again.run.prediction) == N
    with pytest.raises(InputError, match="flip"):
        Here(tmp_path).run(Samples(data=table, predictions=tmp_path / "p.csv", flip=False))
    (tmp_path / "m.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match="artifact"):
        Here(tmp_path).run(samples)


def test_a_served_model_is_known_by_its_address(table, tmp_path):
    session = FakeSession()
    session.backend = "v2"
    here = Here(tmp_path)
    here.load = lambda path, backend: session
    samples = Samples(data=table, predictions=tmp_path / "p.csv")
    here.run(samples, artifact="http://127.0.0.1:1/v2/models/emonet")
    assert "http://127.0.0.1:1/v2/models/emonet" in (tmp_path / "p.csv.json").read_text()


def test_doubtful_predictions_are_told(table, tmp_path):
    constant = FakeSession()
    constant._run = lambda images: {
        k: np.zeros_like(v) for k, v in FakeSession()._run(images).items()
    }
    here = Here(tmp_path, m=constant)
    here.run(Samples(data=table))
    assert any(line.startswith("note: all 20 samples were predicted") for line in here.said)
    assert any(line.startswith("note: valence is +0.000") for line in here.said)


@pytest.mark.parametrize(("limit", "count"), [(None, 64), (5, 5)])
def test_without_data_faces_are_drawn_once(table, tmp_path, monkeypatch, limit, count):
    drawn = []

    def draw(root, reference, n, **_):
        drawn.append(n)
        root.mkdir(parents=True)

    data = SimpleNamespace(name="x")
    monkeypatch.setattr(run_module, "make_procedural", draw)
    monkeypatch.setattr(run_module, "read_affectnet", lambda root, nclass: data)
    monkeypatch.setattr(run_module, "replace", lambda found, **changes: changes)
    said = []
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"weights")
    for _ in range(2):
        found = run_module._procedural(
            weights, 8, limit, lambda *_: contextlib.nullcontext(), said.append, bar
        )
        assert found == {"name": "procedural faces", "left_out": {}, "is_published": False}
    assert drawn == [count]
    assert sum("drawing" in line for line in said) == 1
    assert sum("labels were drawn" in line for line in said) == 2
