"""Each stage of the proof by itself, on what stands for a GPU's libraries."""

import contextlib
import json
from types import SimpleNamespace

import pytest
from helpers.fake_session import FakeSession
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.gpu.stage import LEFT_OUT_CODE, LeftOutError, Record, Settings
from emonet_deploy.commands import prepare_artifacts
from emonet_deploy.commands.prove import stages
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.errors import ArtifactError, EmonetError, ParityError


@pytest.fixture
def settings(tmp_path, monkeypatch):
    made = Settings(tmp_path / "results", tmp_path / "work", backends=("onnx", "torch"),
                    batches=(1, 2), seconds=0.01, samples=3, faces=8, device="cpu")  # fmt: skip
    for folder in (made.folder, made.work):
        folder.mkdir()
    source = Checkpoint(tmp_path / "w.pth", "standin")
    monkeypatch.setattr(prepare_artifacts, "resolve_checkpoint", lambda *_: source)
    return made


def run(settings, name, file="rows.json"):
    record = Record(settings.folder / file)
    stages.STAGES[name].run(settings, record)
    return record.rows


def have(settings, *artifacts):
    """Write models and the rows of the stage that made them."""
    rows = []
    for backend, optimize in artifacts:
        path = write_tiny(settings.work / f"{backend}{optimize or ''}.onnx", interface="image")
        about = {"path": str(path), "backend": backend}
        rows.append({"artifact": about | ({"optimize": optimize} if optimize else {})})
    (settings.work / "models.json").write_text(json.dumps({"rows": rows}))


def test_the_machine_is_described_without_its_load(settings):
    first, *backends = run(settings, "environment")
    assert first["name"] == "environment"
    assert first["cores"] > 0
    assert "load" not in first
    assert {row["name"].split(",")[0] for row in backends} >= {"torch", "onnx", "trt"}


@pytest.mark.parametrize(("device", "size"), [("cpu", 128), ("cuda", 4096)])
def test_ceilings_are_of_large_products_on_a_gpu_and_a_quarter_of_the_time(
    settings, monkeypatch, device, size
):
    from dataclasses import replace

    from emonet_deploy.benchmarks.gpu import ceilings

    seen = []
    monkeypatch.setattr(ceilings, "measure_ceilings", lambda record, *rest: seen.append(rest))
    run(replace(settings, device=device, seconds=2.0), "ceilings")
    assert seen == [(device, size, 0.5)]


@pytest.mark.parametrize("failing", [False, True])
def test_models_are_had_in_each_precision_with_their_size(settings, monkeypatch, failing):
    asked = []

    def obtain(nclass, precision, target, interface, source, out, say):
        asked.append((nclass, precision, target, interface, out))
        if failing and precision == "fp16":
            raise ArtifactError("no half here")
        path = out / f"{precision}.{interface}"
        path.write_bytes(bytes(2_500_000))
        return path

    monkeypatch.setattr(prepare_artifacts, "obtain_model", obtain)
    record = Record(settings.work / "models.json")
    with pytest.raises(EmonetError) if failing else contextlib.nullcontext():
        stages.STAGES["models"].run(settings, record)
    assert asked == [(8, p, "gpu", i, settings.work) for p, i in stages.MODELS]
    good = [row for row in record.rows if not row.get("failed")]
    assert len(record.rows) == len(stages.MODELS)
    assert len(good) == len(stages.MODELS) - failing
    assert {row["size_mb"] for row in good} == {2.5}
    assert all(0 <= row["seconds"] < 60 for row in good)
    assert len(settings.artifacts()) == len(good)


def test_engines_are_left_out_with_what_they_lack(settings):
    from dataclasses import replace

    with pytest.raises(LeftOutError, match="no engines were asked for"):
        run(settings, "build")
    with pytest.raises(LeftOutError, match=r"trt: .*; trt-rtx: "):
        run(replace(settings, backends=("trt", "trt-rtx", "onnx")), "build")


def test_what_is_optional_does_not_leave_an_engine_out(settings, monkeypatch):
    from dataclasses import replace

    def requirement(version, optional=False):
        item = SimpleNamespace(version=version, optional=optional, state="x is missing")
        return SimpleNamespace(find=lambda: item)

    def kinds(*run):
        both = {kind: SimpleNamespace(run=run) for kind in ("trt", "trt-rtx")}
        monkeypatch.setattr(stages, "BACKENDS", both)
        return stages._engine_kinds(replace(settings, backends=("trt",)))

    assert kinds(requirement("1"), requirement("", optional=True))[0] == ["trt"]
    assert kinds(requirement("1"), requirement("2"))[0] == ["trt"]
    assert kinds(requirement("1"), requirement("")) == ([], ["trt: x is missing"])


def test_the_worst_error_is_the_largest_share_of_an_outputs_spread():
    def result(*pairs):
        outputs = {str(i): SimpleNamespace(max_abs=a, spread=s) for i, (a, s) in enumerate(pairs)}
        return SimpleNamespace(outputs=outputs)

    assert stages._worst(result((1.0, 4.0), (3.0, 2.0), (9.0, 0.0))) == 1.5
    assert stages._worst(result((9.0, 0.0))) == 0.0


@pytest.fixture
def sessions(settings, monkeypatch):
    """Open a fake session for everything; those whose name is here are other networks."""
    wrong, opened = set(), []

    class Wrong(FakeSession):
        def _run(self, images):
            return {name: -values for name, values in super()._run(images).items()}

    def load(path, backend=None, device="auto", threads=None, graph=None):
        opened.append((str(path).rpartition("/")[2], backend, device, graph))
        kind = Wrong if opened[-1][0] in wrong else FakeSession
        return kind(interface="tensor")

    monkeypatch.setattr(stages, "load_session", load)
    monkeypatch.setattr(stages, "_peers", lambda *_: [
        (name, lambda name=name: load(name)) for name in ("eager fp32", "eager fp16")
    ])  # fmt: skip
    return wrong, opened


def test_everything_is_held_against_the_reference_on_the_processor(settings, sessions):
    have(settings, ("onnx", None), ("trt", "latency"))
    rows = {row["name"]: row for row in run(settings, "parity")}
    assert set(rows) == {"onnx fp32 image", "PyTorch eager fp32", "PyTorch eager fp16"}
    assert all(row["passed"] and row["agreement"] == 1 for row in rows.values())
    assert [name for name, row in rows.items() if not row["gated"]] == ["PyTorch eager fp16"]
    assert sessions[1][0][2] == "cpu"


def test_only_what_is_gated_fails_the_stage(settings, sessions):
    wrong, _ = sessions
    have(settings, ("onnx", None))
    wrong.add("eager fp16")
    rows = {row["name"]: row for row in run(settings, "parity")}
    assert not rows["PyTorch eager fp16"]["passed"]
    wrong.add("eager fp32")
    with pytest.raises(ParityError, match="a gate failed: PyTorch eager fp32"):
        run(settings, "parity")


def test_speed_is_measured_at_each_batch_and_without_a_graph_at_one(
    settings, sessions, monkeypatch
):
    from emonet_deploy.benchmarks.gpu import speed

    seen = []

    def measure(record, name, session, batches, seconds, samples, **about):
        seen.append((name, tuple(batches), seconds, samples, about))

    monkeypatch.setattr(speed, "measure_speed", measure)
    have(settings, ("onnx", None), ("onnx", "latency"), ("onnx", "throughput"))
    run(settings, "speed")
    assert {entry[0]: entry[1] for entry in seen} == {
        "onnx fp32 image": (1, 2), "onnx fp32 image latency": (1, 2),
        "onnx fp32 image throughput": (1, 2), "PyTorch eager fp32": (1, 2),
        "PyTorch eager fp16": (1, 2), "onnx fp32 image latency without a graph": (1,),
    }  # fmt: skip
    assert {entry[2:4] for entry in seen} == {(0.01, 3)}
    assert {entry[3] for entry in sessions[1] if entry[0].startswith("onnx")} == {None, False}
    assert [e[0] for e in sessions[1] if e[3] is False] == ["onnxlatency.onnx"]


def test_stress_is_of_one_artifact_for_each_backend_and_four_times_as_long(
    settings, sessions, monkeypatch
):
    from emonet_deploy.benchmarks.gpu import stress

    seen = []
    monkeypatch.setattr(stress, "stress", lambda record, name, load, *rest: seen.append(rest))
    monkeypatch.setattr(
        stress, "exit_with_open_session", lambda record, path, *rest: seen.append(rest)
    )
    with pytest.raises(LeftOutError, match="no artifact"):
        run(settings, "stress")
    have(settings, ("onnx", "latency"), ("trt", "throughput"))
    with pytest.raises(LeftOutError, match="no artifact"):
        run(settings, "stress")
    have(settings, ("onnx", "latency"), ("onnx", "throughput"), ("onnx", None))
    run(settings, "stress")
    assert seen == [(0.04, "cpu"), ("onnx", "auto")]
    seen.clear()
    have(settings, ("onnx", None))
    run(settings, "stress")
    assert seen == [(0.04, "cpu"), ("onnx", "cpu")]


def test_engines_choose_their_own_device(settings, sessions):
    _, opened = sessions
    have(settings, ("onnx", None), ("trt", "latency"))
    for artifact in settings.artifacts():
        stages._opening(artifact, settings)()
    assert [entry[2] for entry in opened] == ["cpu", "auto"]


def test_the_tests_for_a_gpu_are_run_and_their_last_line_is_kept(settings, monkeypatch):
    for code, out, err in ((0, "x\n2 passed\n", ""), (1, "1 failed", "noise"), (4, "", "a\nbad")):
        monkeypatch.setattr(stages.subprocess, "run", lambda command, **_: SimpleNamespace(
            returncode=code, stdout=out, stderr=err  # noqa: B023
        ))  # fmt: skip
        said = (out.strip() or err).splitlines()[-1]
        record = Record(settings.folder / "tests.json")
        with pytest.raises(EmonetError) if code else contextlib.nullcontext():
            stages.STAGES["tests"].run(settings, record)
        assert record.rows[0]["said"] == said
        assert bool(record.rows[0].get("failed")) == bool(code)


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (None, 0, ""),
        (LeftOutError("no GPU"), LEFT_OUT_CODE, "no GPU"),
        (ArtifactError("no file"), 1, "no file"),
        (KeyError("x"), 1, "KeyError: 'x'"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_process_ends_with_a_code_and_a_line(
    settings, monkeypatch, capsys, failure, code, line, inside
):
    def stage(settings, record):
        record.add(name="row")
        if failure:
            raise failure

    monkeypatch.setattr(stages, "STAGES", {"x": stages.Stage(stage, 1.0, inside)})
    (settings.work / "s.json").write_text(settings.to_json())
    assert stages._main("x", str(settings.work / "s.json")) == code
    assert line in capsys.readouterr().err
    assert (settings.work / "x.json").exists() == inside
    assert (settings.folder / "x.json").exists() != inside


def test_what_names_files_of_this_machine_stays_with_the_artifacts():
    assert [name for name, stage in stages.STAGES.items() if stage.inside] == ["models", "build"]
    assert all(stage.seconds > 0 for stage in stages.STAGES.values())


def test_ways_of_pytorch_that_need_a_gpu_are_left_out_without_one(settings):
    from dataclasses import replace

    names = [name for name, _ in stages._peers(settings, settings.work / "w.pth")]
    assert "eager fp32" in names
    assert "compiled fp16" not in names
    assert stages._peers(replace(settings, device="cuda"), settings.work / "w.pth") == []
