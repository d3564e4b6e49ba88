from pathlib import Path

import pytest
import safetensors

from emonet_deploy.emonet_ref.checkpoint_file_kind import (
    HEAD,
    describe_content,
    is_checkpoint,
    is_safetensors,
)


def header_is_too_large(length):
    """Return whether the library itself refuses a file whose description is so long."""
    with pytest.raises(safetensors.SafetensorError) as caught:
        safetensors.deserialize(length.to_bytes(8, "little") + b"{")
    return "large" in str(caught.value).lower()


@pytest.mark.parametrize("length", [2, 1 << 20, 99_999_999, 100_000_000, 100_000_001, 1 << 62])
def test_a_description_is_as_long_as_the_format_admits(length):
    head = length.to_bytes(8, "little") + b"{"
    assert is_safetensors(head) == (not header_is_too_large(length))


@pytest.mark.parametrize(
    "head", [b"", b"\x02" + bytes(7), b"\x02" + bytes(7) + b"[", b"{" * 8, bytes(9)]
)
def test_what_has_no_description_is_of_another_format(head):
    assert not is_safetensors(head)


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("w.onnx", b"anything", "an ONNX model"),
        ("w", b"\x08\x01\x12", "an ONNX model"),
        ("w", b"\x08\x20\x3a", "an ONNX model"),
        ("w", b"\x08\x21\x12", "of another kind"),
        ("w", b"\x08\x00\x12", "of another kind"),
        ("w", b"\x08\x0a\x13", "of another kind"),
        ("w", b"\x89PNG\r\n", "an image"),
        ("w", b"\xff\xd8\xff\xe0", "an image"),
        ("w", b"\n <HTML lang=en>", "an HTML page"),
        ("w", b"<!doctype HTML>", "an HTML page"),
        ("w", b"Version https://git-lfs.github.com", "a Git LFS pointer"),
        ("w", b"PK\x03\x04", "a zip archive"),
        ("w", b"\x80\x04", "a pickle"),
    ],
)
def test_a_file_of_another_kind_is_described(name, head, words):
    assert words in describe_content(Path(name), head)


def test_the_start_of_a_file_is_long_enough_to_tell_each_kind():
    assert len(b"version https://git-lfs.github.com/spec/v1") < HEAD


def test_a_safetensors_file_counts_whatever_it_is_called(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(safetensors.serialize({}))
    assert is_checkpoint(path)
    path.write_bytes(b"[" * 64)
    assert not is_checkpoint(path)
