import sys
from types import SimpleNamespace

import pytest
from helpers.fake_session import FakeSession
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.speed import footprint
from emonet_deploy.benchmarks.speed.footprint import Footprint, measure_footprint
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends import registry


@pytest.mark.parametrize(("threads", "given"), [(0, None), (3, 3)])
def test_an_artifact_is_opened_as_told_and_run_three_times(monkeypatch, threads, given):
    session, opened = FakeSession(), []

    def load(path, backend, *, threads):
        opened.append((path, backend, threads))
        return session

    monkeypatch.setattr(registry, "load_session", load)
    found = footprint._main("m.onnx", "onnx", 5, threads)
    assert opened == [("m.onnx", "onnx", given)]
    assert session.batches == [5, 5, 5]
    assert 0 < found.cold_start_ms < 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no other count is as fine")
def test_the_peak_is_in_mib():
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert footprint._peak_rss_mb() == pytest.approx(peak, rel=0.2)


def answer(code=0, out="", err=""):
    return SimpleNamespace(returncode=code, stdout=out, stderr=err)


def test_the_last_line_of_the_process_is_its_answer(monkeypatch):
    commands = []

    def run(command, **_):
        commands.append(command)
        return answer(out='loading\n{"peak_rss_mb": 1.5, "cold_start_ms": null}\n')

    monkeypatch.setattr(footprint.subprocess, "run", run)
    assert measure_footprint("m.onnx", "onnx", 4, 2) == Footprint(1.5, None)
    measure_footprint("m.onnx", "trt", 1, None)
    assert [command[-4:] for command in commands] == [
        ["m.onnx", "onnx", "4", "2"],
        ["m.onnx", "trt", "1", "0"],
    ]


@pytest.mark.parametrize(
    ("said", "message"), [("a\nb\n why\n", "why"), ("", "no message"), ("\n", "no message")]
)
def test_a_process_that_fails_is_told_by_its_last_line(monkeypatch, said, message):
    monkeypatch.setattr(footprint.subprocess, "run", lambda *_, **__: answer(-9, "{}", said))
    with pytest.raises(BackendError, match=rf"the memory of m\.onnx failed: +{message}"):
        measure_footprint("m.onnx", "onnx", 1, 1)


def test_the_command_of_the_process_is_this_module(tmp_path):
    path = write_tiny(tmp_path / "tiny.onnx")
    found = measure_footprint(path, "onnx", 1, 1)
    assert 20 < found.peak_rss_mb < 2000
    assert found.cold_start_ms > 0
