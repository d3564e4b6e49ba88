import json

import numpy as np
import pytest

from emonet_deploy.benchmarks.datasets.afew_va import find_clips, read_afew_va
from emonet_deploy.errors import DatasetError

LANDMARKS = np.linspace([10.0, 20.0], [60.0, 90.0], 68).tolist()


def write_clip(folder, frames, pictures=("00000.png",)):
    folder.mkdir(parents=True)
    for name in pictures:
        (folder / name).touch()
    (folder / f"{folder.name}.json").write_text(json.dumps({"frames": frames}))
    return folder


def frame(valence=5, arousal=-5, landmarks=LANDMARKS):
    return {"valence": valence, "arousal": arousal, "landmarks": landmarks}


def test_clips_are_found_in_the_root_and_in_parts_and_no_deeper(tmp_path):
    clips = [write_clip(tmp_path / name, {}) for name in ("001", "01/007", "01/008", "2/3/4")]
    (tmp_path / "empty").mkdir()
    (tmp_path / "readme.txt").touch()
    assert find_clips(tmp_path) == clips[:3]
    assert find_clips(clips[0]) == clips[:1]
    with pytest.raises(DatasetError, match=r"cannot read .*; check --data"):
        find_clips(tmp_path / "absent")


def test_the_scale_goes_from_minus_ten_to_ten_and_frames_are_in_order(tmp_path):
    names = ("00002.jpg", "00000.png", "00001.png")
    write_clip(
        tmp_path / "c",
        {"00002": frame(1, 2), "00000": frame(10, -10), "00001": frame(-3, 0)},
        names,
    )
    read = read_afew_va(tmp_path)
    found = [(s.path, s.valence, s.arousal) for s in read.samples]
    assert found == [("c/00000.png", 1, -1), ("c/00001.png", -0.3, 0), ("c/00002.jpg", 0.1, 0.2)]
    assert (read.nclass, read_afew_va(tmp_path, 5).nclass) == (8, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valence": 10.5}, "a tenth of valence is 1.05"),
        ({"landmarks": [*LANDMARKS, [0, 0]]}, "not 68 points"),
        ({"landmarks": "x" * 68}, "not 68 points"),
        ({"landmarks": [[1, 2], [1]] * 34}, "no pair"),
        ({"landmarks": [[x, 5] for x, _ in LANDMARKS]}, "no area"),
        ({"landmarks": [[5, y] for _, y in LANDMARKS]}, "no area"),
    ],
)
def test_an_impossible_frame_is_named(tmp_path, changes, message):
    write_clip(tmp_path / "c", {"00000": frame(**changes)})
    with pytest.raises(DatasetError, match=rf"frame 00000: .*{message}"):
        read_afew_va(tmp_path)


def test_a_frame_is_a_set_of_annotations_and_pictures_are_counted(tmp_path):
    write_clip(tmp_path / "c", {"00000": frame(), "00001": frame(), "00002": frame()})
    (tmp_path / "c" / "00001.txt").touch()
    assert read_afew_va(tmp_path).left_out == {"without a picture": 2}
    write_clip(tmp_path / "d", {"00000": []})
    with pytest.raises(DatasetError, match="it is no set of annotations"):
        read_afew_va(tmp_path)
