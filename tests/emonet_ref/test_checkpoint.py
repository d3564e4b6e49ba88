import argparse
import hashlib
import io
import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers import golden
from helpers.local_server import serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from emonet_deploy.emonet_ref import checkpoint, checkpoint_file
from emonet_deploy.emonet_ref.checkpoint import (
    fetch_checkpoint,
    identify_checkpoint,
    load_checkpoint,
)
from emonet_deploy.emonet_ref.checkpoint_file_kind import is_checkpoint
from emonet_deploy.errors import CheckpointError


@pytest.fixture(scope="module")
def weights():
    return golden.weights(8, weight_seed=0)


@pytest.fixture(scope="module")
def hollow(weights):
    """Weights of the right shapes, all 0.1 (no half or float knows it) and tiny when saved."""
    return {k: torch.tensor(0.1).to(v.dtype).expand(v.shape) for k, v in weights.items()}


@pytest.fixture
def save(tmp_path):
    def save(content, legacy=False):
        path = tmp_path / "weights.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return path

    return save


def refused(path, nclass=None):
    """Return the one line that says why a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, nclass)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_holds(model, weights):
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key]), key
        assert value.dtype == weights[key].dtype, key
    assert not model.training


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_saved_weights_come_back_in_eval_mode(save, weights, legacy):
    assert_holds(load_checkpoint(save(weights, legacy), nclass=8), weights)


def test_the_number_of_classes_is_read_from_the_weights(save, hollow):
    last = {key: hollow[key][:7] for key in ("emo_fc_2.3.weight", "emo_fc_2.3.bias")}
    path = save(hollow | last)
    assert load_checkpoint(path).nclass == 5
    assert load_checkpoint(path, nclass=5).emo_fc_2[-1].out_features == 7
    assert "is of 5 classes, not of 8" in refused(path, nclass=8)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: OrderedDict((f"module.{key}", value) for key, value in weights.items()),
        lambda weights: {"state_dict": weights, "epoch": 12, "optimizer": {}},
        lambda weights: {k: torch.nn.Parameter(v, False) for k, v in weights.items()},
    ],
    ids=["module", "nested", "parameters"],
)
def test_forms_common_in_the_wild_load_without_a_warning(save, hollow, wrap):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_holds(load_checkpoint(save(wrap(hollow))), hollow)


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module._orig_mod.", "model.", "emonet.", "model.module.net.", "net._orig_mod."],
)
def test_a_beginning_that_all_names_share_is_left_out(save, hollow, prefix):
    wrapped = {f"{prefix}{key}": value for key, value in hollow.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_holds(load_checkpoint(save(wrapped)), hollow)


@pytest.mark.parametrize("where", [["model"], ["ema", "shadow"], ["state"], ["state_dict", "net"]])
def test_weights_are_found_in_whatever_mapping_holds_them(save, hollow, where):
    content = {f"module.model.{key}": value for key, value in hollow.items()}
    for name in where[::-1]:
        content = {"epoch": 7, name: content, "optimizer": {"state": {0: {"step": 3}}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_holds(load_checkpoint(save(content)), hollow)


def test_the_whole_set_counts_beside_a_part_of_one(save, hollow):
    head = {"emo_fc_2.3.weight": torch.zeros(10, 128)}
    assert_holds(load_checkpoint(save({"head": head, "model": hollow})), hollow)
    assert_holds(load_checkpoint(save({"model": hollow, "same": dict(hollow)})), hollow)


@pytest.mark.parametrize("form", ["containers", "prefixes"])
def test_two_different_sets_of_weights_are_not_chosen_between(save, hollow, form):
    other = {key: value + 1 for key, value in hollow.items()}
    if form == "containers":
        content = {"model": hollow, "ema": other}
    else:
        content = {f"model.{key}": value for key, value in hollow.items()}
        content |= {f"ema.{key}": value for key, value in other.items()}
    assert "holds 2 different sets of EmoNet's weights, under 'model' and 'ema'" in refused(
        save(content)
    )


@pytest.mark.parametrize(
    "beside",
    [
        {"best": np.float64(0.81)},
        {"best": np.float32(0.81), "classes": np.arange(8)},
        {"args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    ],
    ids=["scalar", "array", "arguments"],
)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_training_code_saves_beside_the_weights_is_no_code(save, hollow, beside, legacy):
    assert_holds(load_checkpoint(save({"state_dict": hollow, **beside}, legacy)), hollow)


def test_names_of_another_numpy_are_known_too(tmp_path, save):
    path = save({"best": np.float64(0.5)}, legacy=True)
    here, other = b"numpy._core", b"numpy.core"  # of NumPy 2 and 1
    written = path.read_bytes()
    if here not in written:
        here, other = other, here
    assert here in written
    path.write_bytes(written.replace(here, other))
    assert "lacks the weight" in refused(path)  # and holds no code


@pytest.mark.parametrize("prefix", ["", "model."])
def test_safetensors_are_read(tmp_path, hollow, prefix):
    weights = {f"{prefix}{key}": value.contiguous() for key, value in hollow.items()}
    path = tmp_path / "weights.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    assert_holds(load_checkpoint(path), hollow)
    assert is_checkpoint(path.rename(tmp_path / "weights.bin"))


def test_damaged_safetensors_are_told_as_such(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": torch.zeros(99)}, path)
    path.write_bytes(path.read_bytes()[:-9])
    assert "is truncated or damaged" in refused(path)


@pytest.mark.parametrize("name", ["w.pth.tar", "w.ckpt", "w.bin", "w", "w.weights"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_checkpoint_is_told_by_its_content(save, hollow, tmp_path, name, legacy):
    path = save(hollow, legacy).rename(tmp_path / name)
    assert is_checkpoint(path)
    assert_holds(load_checkpoint(path), hollow)


def test_what_is_called_a_checkpoint_counts_as_one_and_nothing_else_does(tmp_path):
    for name in ("absent.pth", "absent.pt", "absent.PTH.TAR", "a.ckpt", "a.safetensors"):
        assert is_checkpoint(tmp_path / name)
    (tmp_path / "page.pth").write_text("<html>")
    assert is_checkpoint(tmp_path / "page.pth")
    (tmp_path / "other.zip").write_bytes(zip_bytes())
    os.mkfifo(tmp_path / "pipe")
    for name in ("other.zip", "pipe", "absent.onnx", "absent", "a\0", "a" * 300, "x.tar"):
        assert not is_checkpoint(tmp_path / name)
    (tmp_path / "model.onnx").write_bytes(onnx_bytes())
    assert not is_checkpoint(tmp_path / "model.onnx")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_become_float32(save, hollow, dtype):
    other = {k: v.to(dtype) if v.is_floating_point() else v for k, v in hollow.items()}
    want = {k: v.float() if v.is_floating_point() else v for k, v in other.items()}
    assert_holds(load_checkpoint(save(other)), want)


def test_absent_batch_counters_are_tolerated_in_silence(save, hollow):
    bare = {k: v for k, v in hollow.items() if not k.endswith("num_batches_tracked")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_holds(load_checkpoint(save(bare)), hollow)


def test_extra_keys_are_listed_in_one_warning(save, hollow):
    with pytest.warns(UserWarning, match=r"left out 2 .*: epoch, head\.weight$") as caught:
        load_checkpoint(save(hollow | {"epoch": 3, "module.head.weight": torch.zeros(2)}))
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"m0.b2_3.conv2.weight": None}, "lacks the weight 'm0.b2_3.conv2.weight'"),
        ({"emo_fc_2.3.weight": None}, "lacks the weight 'emo_fc_2.3.weight'"),
        ({"bn1.bias": torch.zeros(63)}, "'bn1.bias' is 63, EmoNet's is 64"),
        (
            {"l1.weight": torch.zeros(98, 256, 1, 1)},
            "'l1.weight' is 98 x 256 x 1 x 1, EmoNet's is 68 x 256 x 1 x 1",
        ),
        ({"emo_fc_2.3.weight": torch.zeros(9, 128)}, "is 9 x 128, not 7 x 128 or 10 x 128"),
        ({"emo_fc_2.3.weight": torch.zeros(10, 64)}, "is 10 x 64, EmoNet's is 10 x 128"),
        ({"emo_fc_2.3.weight": torch.tensor(0.0)}, "is a single number"),
        ({"emo_fc_2.3.weight": "text"}, "is a str"),
        ({"bn1.weight": [1.0] * 64}, "'bn1.weight' is a list"),
        ({"bn1.weight": torch.full((64,), torch.nan)}, "'bn1.weight' holds NaN or infinite"),
        ({"bn1.bias": torch.full((64,), 1e300, dtype=torch.float64)}, "'bn1.bias' holds NaN"),
        ({"bn1.bias": torch.zeros(64, dtype=torch.int64)}, "'bn1.bias' holds torch.int64"),
        ({"bn1.bias": torch.zeros(64, dtype=torch.complex64)}, "holds torch.complex64"),
        ({"bn1.bias": torch.zeros(64).to_sparse()}, "in torch.sparse_coo layout"),
        ({"bn1.bias": torch.zeros(64, device="meta")}, "on meta"),
        ({"module.bn1.bias": torch.zeros(64)}, "both with and without 'module.'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_weight_that_cannot_be_used_is_named(save, hollow, change, word):
    changed = {key: value for key, value in (hollow | change).items() if value is not None}
    message = refused(save(changed))
    assert word in message


@pytest.mark.parametrize(
    "content", [[torch.zeros(3)], torch.zeros(3), 4, "text", None], ids=lambda v: type(v).__name__
)
def test_what_is_no_state_dict_is_told_by_its_type(save, content):
    assert f"holds a {type(content).__name__}, not a state dict" in refused(save(content))


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle2", "pickle5", "pickle0"])
def test_code_in_a_checkpoint_is_never_run(save, tmp_path, form):
    content = {"conv1.weight": Bomb(tmp_path / "trace")}
    if form.startswith("pickle"):
        path = tmp_path / "weights.pth"
        path.write_bytes(pickle.dumps(content, protocol=int(form[-1])))
    else:
        path = save(content, legacy=form == "legacy")
    message = refused(path)
    assert not (tmp_path / "trace").exists()
    assert form == "pickle0" or "code" in message
    assert form in ("pickle0", "pickle5") or "(posix.mkdir)" in message


def test_a_whole_pickled_model_is_refused_with_what_to_save_instead(save):
    assert "torch.save(model.state_dict(), ...)" in refused(save(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("share", [0.3, 0.999])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_truncated_checkpoint_is_told_as_such(save, legacy, share):
    path = save({"conv1.weight": torch.zeros(99, 99)}, legacy)
    with open(path, "r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    assert "is truncated or damaged" in refused(path)


def onnx_bytes():
    graph = onnx.helper.make_graph([], "empty", [], [])
    return onnx.helper.make_model(graph, producer_name="anyone").SerializeToString()


def png_bytes():
    return cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()


def zip_bytes():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "no weights here")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02 nothing in particular", "is not a checkpoint: its content is of another"),
        (png_bytes(), "is not a checkpoint: it is an image"),
        (onnx_bytes(), "is not a checkpoint: it is an ONNX model"),
        (zip_bytes(), "is not a checkpoint: it is a zip archive"),
        (b"<!DOCTYPE html>\n<html>", "is not a checkpoint: it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (pickle.dumps([1, 2, 3], 5), "is not a checkpoint: it is a pickle of something else"),
    ],
    ids=["empty", "noise", "png", "onnx", "zip", "html", "lfs", "pickle"],
)
def test_a_file_of_another_kind_is_told_as_such(tmp_path, content, words):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert words in refused(path)


def test_a_path_that_cannot_be_read_is_told_as_such(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.pth")
    assert "is a folder" in refused(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        identify_checkpoint(tmp_path / "absent.pth")


def saved(legacy):
    file = io.BytesIO()
    content = OrderedDict({"conv1.weight": torch.zeros(2, 3), "epoch": 1})
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


SAVED = {legacy: saved(legacy) for legacy in (False, True)}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(legacy=st.booleans(), data=st.data())
def test_mangled_files_raise_nothing_but_checkpoint_errors(tmp_path, legacy, data):
    content = bytearray(SAVED[legacy])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        end = at + data.draw(st.integers(0, 8))
        content[at:end] = data.draw(st.binary(max_size=8))
    path = tmp_path / "mangled.pth"
    path.write_bytes(content)
    refused(path)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200))
def test_random_files_raise_nothing_but_checkpoint_errors(tmp_path, content):
    path = tmp_path / "random.pth"
    path.write_bytes(content)
    refused(path)


def test_only_a_few_superfluous_entries_are_named(save, hollow):
    extra = {f"head.{i}.{'x' * 500}": 0 for i in range(2000)}
    with pytest.warns(UserWarning, match=r"left out 2000 .* and 1995 more$") as caught:
        load_checkpoint(save(hollow | extra))
    assert len(str(caught[0].message)) < 1000


def test_up_to_five_are_named_and_their_names_up_to_a_length(save, hollow):
    extra = {f"x{i}": 0 for i in range(4)} | {"y" * 80: 0}
    with pytest.warns(UserWarning, match=f"left out 5 .*: x0, x1, x2, x3, {'y' * 80}$"):
        load_checkpoint(save(hollow | extra))
    with pytest.warns(UserWarning, match=rf"left out 6 .*, {'y' * 80} and 1 more$"):
        load_checkpoint(save(hollow | extra | {"z": 0}))
    with pytest.warns(UserWarning, match=rf"left out 1 .*: {'y' * 80}\.\.\.$"):
        load_checkpoint(save(hollow | {"y" * 81: 0}))


def opcodes(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


DOUBLED = b")" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(1, 46))
LISTS = b"]" + b"".join(b"q%c0](h%ch%ce" % (i, i, i) for i in range(1, 46))


@pytest.mark.parametrize(
    "program",
    [
        opcodes(b"}", DOUBLED, b"K\x01s"),
        opcodes(b"c__builtin__\nset\n(](", DOUBLED, b"etR"),
        opcodes(b"ccollections\nOrderedDict\n(]((", DOUBLED, b"K\x01tetR"),
        opcodes(b"ccollections\nOrderedDict\n)R", DOUBLED, b"K\x01s"),
        opcodes(b"(X\x07\0\0\0storagectorch\nFloatStorage\n", DOUBLED, b"K\x01K\x01tQ"),
        opcodes(b"(", LISTS, b"tQ"),
        opcodes(LISTS, b")R"),
        opcodes(b"ctorch._utils\n_rebuild_tensor_v2\n(", LISTS, b"tR"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "raw"])
def test_a_checkpoint_that_never_ends_is_refused_at_once(tmp_path, program, form):
    path = tmp_path / "weights.pth"
    if form == "raw":
        path.write_bytes(program)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/version", "3\n")
    assert "takes all memory or never ends" in refused(path)


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
        archive.writestr("archive/version", "3\n")
    assert "it unpacks to many times its size" in refused(path)


@pytest.mark.parametrize(("size", "refused_at_once"), [(28, False), (40, True)])
def test_an_archive_may_unpack_to_four_times_its_size(tmp_path, size, refused_at_once):
    path = tmp_path / "weights.pth"
    for noise in (0, 10_000):  # what does not shrink makes up the rest
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", pickle.dumps("x"))
            archive.writestr("archive/noise", os.urandom(noise))
            archive.writestr("archive/data/0", bytes(size * 1000))
        if noise:
            assert ("many times its size" in refused(path)) == refused_at_once


@pytest.mark.parametrize("length", [-1, 0, 1])
def test_a_description_is_read_up_to_its_limit(tmp_path, monkeypatch, length):
    monkeypatch.setattr(checkpoint_file, "MAX_PICKLE", 5000)
    path = tmp_path / "weights.pth"
    program = pickle.dumps({}).ljust(5000 + length, b"\0")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    assert ("its description is too long" in refused(path)) == (length > 0)


@pytest.mark.parametrize(("parts", "fits"), [(99_999, True), (100_000, False)])
def test_a_call_is_of_a_bounded_number_of_parts(parts, fits):
    value = [0] * parts
    if fits:
        assert checkpoint_file._size(value, 100_000) == 100_000
        assert checkpoint_file._size({"a": [1, (2, {3})]}, 7) == 7
    else:
        with pytest.raises(checkpoint_file.PickleLimitError, match="too large"):
            checkpoint_file._size(value, 100_000)


def test_the_originals_fit_under_the_limit_of_a_download_and_much_more_does_not():
    floats = sum(np.prod(shape, dtype=int) for shape in golden.shapes(8).values())
    assert 4 * floats * 1.1 < checkpoint.MAX_DOWNLOAD < 4 * floats * 4


def test_dicts_may_hide_their_methods(save, hollow):
    sly = OrderedDict(hollow)
    vars(sly)["itemz"] = vars(sly)["keyz"] = "hidden"
    path = save(sly, legacy=True)
    written = path.read_bytes().replace(b"itemz", b"items").replace(b"keyz", b"keys")
    path.write_bytes(written)
    assert_holds(load_checkpoint(path), hollow)


def test_pipes_and_devices_are_no_checkpoints(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "zero.pth").symlink_to("/dev/zero")
    for name in ("pipe.pth", "zero.pth"):
        assert "a device or a pipe" in refused(tmp_path / name)
        with pytest.raises(CheckpointError, match="a device or a pipe"):
            identify_checkpoint(tmp_path / name)
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(CheckpointError, match="cannot read"):
            load_checkpoint(tmp_path / name)


def test_a_name_that_is_no_utf8_is_read(save, hollow, tmp_path):
    path = save(hollow).rename(tmp_path / os.fsdecode(b"w_\xe9.pth"))
    assert_holds(load_checkpoint(path), hollow)
    assert identify_checkpoint(path).startswith("sha256:")


CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A mirror whose content counts as the authors' 8-class checkpoint."""
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    monkeypatch.setitem(checkpoint.GIT_BLOB_SHA1, 8, blob)
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(CONTENT) as server:
        monkeypatch.setenv("EMONET_WEIGHTS_URL", f"{server.url}/mirror/")
        yield server


def test_fetch_downloads_once_and_shows_the_licence_once(server, tmp_path):
    notices = []
    path = fetch_checkpoint(8, notify=notices.append)
    assert path == tmp_path / "home" / "emonet_8.pth"
    assert path.read_bytes() == CONTENT
    assert fetch_checkpoint(8, notify=notices.append) == path
    assert server.requests == [("/mirror/emonet_8.pth", None)]
    assert len(notices) == 1
    assert "CC BY-NC-ND 4.0" in notices[0]
    assert identify_checkpoint(path) == "original"


def test_fetch_replaces_a_damaged_cached_file(server):
    path = fetch_checkpoint(8)
    path.write_bytes(b"damaged")
    assert fetch_checkpoint(8).read_bytes() == CONTENT


def test_fetch_takes_the_mirror_given_before_the_one_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("EMONET_WEIGHTS_URL", "http://127.0.0.1:1")
    fetch_checkpoint(8, base_url=f"{server.url}/own")
    assert server.requests == [("/own/emonet_8.pth", None)]


def test_fetch_refuses_what_is_not_the_authors_and_names_the_other_ways(server, tmp_path):
    server.script = [b"forged weights"]
    with pytest.raises(CheckpointError, match="not the expected content") as caught:
        fetch_checkpoint(8)
    for way in ("emonet_8.pth", "EMONET_WEIGHTS_URL", "--checkpoint standin", "--checkpoint PATH"):
        assert way in str(caught.value)
    assert not list((tmp_path / "home").glob("*.pth"))


def test_fetch_knows_only_the_two_published_models(server):
    with pytest.raises(CheckpointError, match="no checkpoint of 6 classes; choose 5 or 8"):
        fetch_checkpoint(6)
    assert server.requests == []


def test_fetch_stops_where_the_originals_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_DOWNLOAD", 1000)
    with pytest.raises(CheckpointError, match="sends more than"):
        fetch_checkpoint(8)
    assert [path.name for path in (tmp_path / "home").iterdir()] == [".emonet_8.pth.lock"]


def test_the_address_names_the_commit_in_full_and_is_https():
    assert re.fullmatch(r"https://[\w./-]+/[0-9a-f]{40}/pretrained", checkpoint.WEIGHTS_URL)


def test_the_pinned_hashes_are_those_of_the_specification():
    assert checkpoint.GIT_BLOB_SHA1 == {
        5: "61358cb3ea0fe410c01ee4ffff5ed1b49713af98",
        8: "6833bfdcf8fc761deb7630256a750cf1f7c850c1",
    }


def test_identity_of_another_file_is_its_sha256(tmp_path):
    path = tmp_path / "own.pth"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert identify_checkpoint(path) == f"sha256:{want}"
