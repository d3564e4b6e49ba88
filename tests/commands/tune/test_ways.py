from dataclasses import replace
from typing import get_args

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.commands.tune import ways as module
from emonet_deploy.commands.tune.ways import (
    configurations,
    engines_here,
    thread_counts,
    to_measure,
)
from emonet_deploy.emonet_ref.resolve_checkpoint import Checkpoint
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.runtime.choices import Backend
from emonet_deploy.runtime.metadata import artifact_name
from emonet_deploy.runtime.tuning.configuration import Measured

ALL = get_args(Backend)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"never loaded")
    return Checkpoint(tmp_path / "weights.pth", "standin")


@pytest.fixture
def everywhere(monkeypatch):
    """Every backend is installed here."""
    monkeypatch.setattr(module, "_runs_here", lambda name: True)


def write(folder, precision="fp32", target="gpu", interface="tensor"):
    path = folder / artifact_name(8, precision, target, interface)
    return write_tiny(path, precision, interface, target)


def find(source, files, purpose="latency", on_gpu=False, threads=(4, 2, 1), backends=ALL):
    return configurations(source, files, purpose, backends, on_gpu, threads)


@pytest.mark.parametrize(
    ("processors", "counts"),
    [(1, [1]), (2, [2, 1]), (3, [3, 1]), (4, [4, 2, 1]), (5, [5, 2, 1]), (16, [16, 8, 1])],
)
def test_all_half_and_one_thread_are_tried(processors, counts):
    assert thread_counts(processors) == counts


def test_a_way_says_what_is_run_and_on_what(tmp_path, source, everywhere):
    file = write(tmp_path, "int8", "cpu", "image")
    ways = find(source, [file], backends=("onnx", "torch"), threads=[3])
    (quantised,) = (way for way in ways if way.file)
    assert (quantised.backend, quantised.file, quantised.precision) == ("onnx", file.name, "int8")
    assert (quantised.target, quantised.interface, quantised.device) == ("cpu", "image", "cpu")
    assert quantised.sha256 == sha256_file(file)
    (plain,) = (way for way in ways if not way.file)
    assert (plain.backend, plain.precision, plain.interface) == ("torch", "fp32", "tensor")
    assert plain.sha256 == sha256_file(source.path)
    assert "torch" in plain.libraries


def test_latency_is_of_one_image_on_each_number_of_threads(tmp_path, source, everywhere):
    ways = find(source, [write(tmp_path)], backends=("onnx",))
    assert [(way.threads, way.batch) for way in ways] == [(4, 1), (2, 1), (1, 1)]
    assert {way.purpose for way in ways} == {"latency"}


@pytest.mark.parametrize(
    ("threads", "loads"),
    [
        ([8, 4, 1], [(8, 8), (4, 4)]),
        ([3, 2, 1], [(3, 6), (2, 4)]),
        ([5], [(5, 5)]),
        ([1], [(1, 4)]),
    ],
)
def test_throughput_is_of_four_images_or_more_a_whole_number_for_each_thread(
    tmp_path, source, everywhere, threads, loads
):
    ways = find(source, [write(tmp_path)], "throughput", threads=threads, backends=("onnx",))
    assert [(way.threads, way.batch) for way in ways] == loads


@pytest.mark.parametrize(("purpose", "batches"), [("latency", {1}), ("throughput", {8, 32})])
def test_on_a_gpu_threads_are_no_matter(tmp_path, source, everywhere, purpose, batches):
    ways = find(source, [write(tmp_path)], purpose, on_gpu=True)
    assert {way.batch for way in ways} == batches
    assert {way.threads for way in ways} == {None}
    assert {way.device for way in ways} == {"cuda"}
    assert "openvino" not in {way.backend for way in ways}


def test_the_likely_fastest_come_first(tmp_path, source, everywhere):
    files = [write(tmp_path), write(tmp_path, target="cpu"), write(tmp_path, "int8", "cpu")]
    ways = find(source, files, backends=("torch", "onnx"), threads=[2, 1])
    order = [(way.backend, way.precision, way.target, way.threads) for way in ways]
    assert order == [
        ("onnx", "int8", "cpu", 2), ("onnx", "int8", "cpu", 1),
        ("onnx", "fp32", "cpu", 2), ("onnx", "fp32", "cpu", 1),
        ("onnx", "fp32", "gpu", 2), ("onnx", "fp32", "gpu", 1),
        ("torch", "fp32", "gpu", 2), ("torch", "fp32", "gpu", 1),
    ]  # fmt: skip


def test_only_what_is_installed_and_asked_for_is_tried(tmp_path, source, monkeypatch):
    monkeypatch.setattr(module, "_runs_here", lambda name: name != "onnx")
    ways = find(source, [write(tmp_path)])
    assert {way.backend for way in ways} == {"openvino", "torch"}
    assert find(source, [], backends=("onnx",)) == []


def test_engines_are_those_that_are_built_and_run_here(monkeypatch):
    monkeypatch.setattr(module, "_runs_here", lambda name: True)
    assert engines_here(ALL) == ["trt", "trt-rtx"]
    assert engines_here(("onnx", "trt")) == ["trt"]
    monkeypatch.setattr(module, "_runs_here", lambda name: name == "trt-rtx")
    assert engines_here(ALL) == ["trt-rtx"]


def test_what_is_missing_does_not_run_here():
    assert module._runs_here("onnx")
    assert not module._runs_here("trt")


@pytest.fixture
def three(tmp_path, source, everywhere):
    return find(source, [write(tmp_path)], backends=("onnx",))


def row(way, date="a", final=True):
    return Measured(way, 10.0, 10.0, 7, final, date)


def test_nothing_is_measured_where_the_best_were_timed_together(three):
    known = {way: row(way, final=i < 2) for i, way in enumerate(three)}
    assert to_measure(three, known) == []
    older = known | {three[2]: row(three[2], date="older", final=False)}
    assert to_measure(three, older) == []


def test_the_best_are_timed_again_with_what_is_new_or_of_another_run(three):
    known = {three[0]: row(three[0]), three[1]: row(three[1], final=False)}
    assert to_measure(three, known) == [three[0], three[2]]
    mixed = {way: row(way, date=str(i)) for i, way in enumerate(three)}
    assert to_measure(three, mixed) == three
    assert to_measure(three, {}) == three
    assert to_measure([], {}) == []


def test_what_can_no_longer_be_chosen_does_not_count(three):
    gone = replace(three[0], sha256="0")
    assert to_measure(three[1:], {gone: row(gone)}) == three[1:]
