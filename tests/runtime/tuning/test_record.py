"""The record of `emonet tune`: written whole, read within bounds, used only where it holds."""

import json
from dataclasses import replace

import pytest

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.tuning import resolve as resolve_module
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured, Wanted
from emonet_deploy.runtime.tuning.machine import Machine, library_versions
from emonet_deploy.runtime.tuning.record import (
    TuningRecord,
    read_record,
    record_path,
    write_record,
)
from emonet_deploy.runtime.tuning.resolve import resolve_tuned


@pytest.fixture
def folder(tmp_path):
    """Two files, and a record of this machine that chose the second; threads 1 for the first."""
    rows = []
    for number, (name, target, threads) in enumerate(
        [("emonet_8.fp32.onnx", "gpu", 1), ("emonet_8.fp32.cpu.onnx", "cpu", 2)]
    ):
        (tmp_path / name).write_bytes(b"x" * (number + 1))
        way = Configuration(
            purpose="latency", backend="onnx", file=name, sha256=sha256_file(tmp_path / name),
            precision="fp32", target=target, interface="tensor", device="cpu", threads=threads,
            batch=1, libraries=library_versions("onnx"),
        )  # fmt: skip
        rows.append(Measured(way, 100.0 - 20 * number, 110.0, 7, True, "2026-01-01T00:00:00+00:00"))
    record = TuningRecord(8, "standin", Machine.here(), tuple(rows), {"latency": rows[1]})
    write_record(record_path(tmp_path, 8), record)
    return tmp_path


def resolve(folder, purpose="latency", wanted=None, identity="standin"):
    return resolve_tuned(folder, 8, identity, folder / "c.pth", purpose, wanted or Wanted())


def change(folder, **fields):
    path = record_path(folder, 8)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_was_written_is_read(folder):
    record = read_record(record_path(folder, 8))
    assert record.choice["latency"] == record.rows[1]
    write_record(folder / "copy.json", record)
    assert read_record(folder / "copy.json") == record
    assert read_record(folder / "none.json") is None


def test_the_choice_is_used_and_said_in_a_line(folder):
    found = resolve(folder)
    assert found.path == folder / "emonet_8.fp32.cpu.onnx"
    assert found.way.threads == 2
    assert "onnx on emonet_8.fp32.cpu.onnx with 2 threads (80.0 ms an image" in found.note
    assert "\n" not in found.note


def test_what_the_user_asks_for_goes_before_the_choice(folder):
    assert resolve(folder, wanted=Wanted(threads=1)).path == folder / "emonet_8.fp32.onnx"
    assert resolve(folder, wanted=Wanted(target="gpu")).path == folder / "emonet_8.fp32.onnx"
    for wanted in (Wanted(precision="int8"), Wanted(device="cuda"), Wanted(threads=3)):
        found = resolve(folder, wanted=wanted)
        assert found.way is None
        assert "nothing in it is what was asked for" in found.note


def test_a_purpose_that_was_not_tuned_has_no_choice(folder):
    assert resolve(folder, "throughput").way is None


def test_without_a_record_nothing_is_said(tmp_path):
    found = resolve(tmp_path)
    assert (found.way, found.note) == (None, "")


def test_a_record_of_another_machine_is_not_used_and_the_reason_is_told(folder):
    here = Machine.here()
    for other, words in (
        (replace(here, cpu="Other CPU"), "another processor (Other CPU)"),
        (replace(here, instructions=("avx512f",)), "another processor"),
        (replace(here, processors=64), "64 usable processors"),
        (replace(here, gpu="NVIDIA T4, CUDA 13.0"), "another GPU"),
    ):
        machine = {**other.__dict__, "instructions": list(other.instructions)}
        change(folder, machine=machine)
        found = resolve(folder)
        assert found.way is None
        assert words in found.note


def test_a_file_a_library_or_a_checkpoint_that_changed_is_told(folder):
    assert "checkpoint standin" in resolve(folder, identity="standin:1").note
    raw = json.loads(record_path(folder, 8).read_text())
    older = {"latency": raw["choice"]["latency"] | {"libraries": "onnxruntime 0.1"}}
    change(folder, choice=older)
    assert "it ran on onnxruntime 0.1" in resolve(folder).note
    change(folder, choice=raw["choice"])
    file = folder / "emonet_8.fp32.cpu.onnx"
    file.write_bytes(b"other")
    assert "has changed since" in resolve(folder).note
    file.unlink()
    found = resolve(folder)
    assert found.way is None
    assert "is not there" in found.note


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", "../secret.onnx"), ("file", "/etc/passwd"), ("backend", "gcc"), ("threads", "2"),
        ("p50_ms", -1.0), ("p50_ms", 0.0), ("p25_ms", float("inf")), ("p50_ms", 1), ("batch", 0),
        ("final", 1), ("purpose", None),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused_in_a_line(folder, field, value):
    raw = json.loads(record_path(folder, 8).read_text())
    change(folder, rows=[raw["rows"][0] | {field: value}])
    with pytest.raises(ArtifactError, match="make it again with `emonet tune`"):
        read_record(record_path(folder, 8))
    found = resolve(folder)
    assert found.way is None
    assert "damaged" in found.note


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": null}', "NaN", "[" * 99])
def test_any_other_text_is_refused_too(tmp_path, text):
    record_path(tmp_path, 8).write_text(text)
    with pytest.raises(ArtifactError):
        read_record(record_path(tmp_path, 8))


def test_a_time_below_a_millisecond_is_one(folder):
    raw = json.loads(record_path(folder, 8).read_text())
    change(folder, rows=[raw["rows"][0] | {"p25_ms": 0.4, "p50_ms": 0.5}])
    (row,) = read_record(record_path(folder, 8)).rows
    assert (row.cost, row.images_per_second) == (0.4, 2000)


def test_a_record_of_more_than_a_megabyte_is_not_read(folder):
    path = record_path(folder, 8)
    text = path.read_text()
    path.write_text(text + " " * 500_000)
    assert read_record(path) is not None
    path.write_text(text + " " * 1_500_000)
    with pytest.raises(ArtifactError):
        read_record(path)


def test_a_backend_that_is_gone_is_told(folder, monkeypatch):
    monkeypatch.setattr(resolve_module, "library_versions", lambda backend: "")
    assert "and here is no onnx; `emonet tune` measures anew" in resolve(folder).note
