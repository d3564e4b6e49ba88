import pytest

from emonet_deploy.benchmarks.datasets.aff_wild2 import find_videos, read_aff_wild2
from emonet_deploy.errors import DatasetError


def write_video(root, name, text="valence,arousal\n0.5,-0.25\n", frames=(1,), pictures=None):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if pictures is not None:
        folder = root / pictures / path.stem
        folder.mkdir(parents=True)
        for at in frames:
            (folder / f"{at:05d}.jpg").touch()
    return path


@pytest.mark.parametrize(
    "first", ["valence,arousal", "Valence, Arousal", "\ufeffvalence,arousal ", "valence,arousal\r"]
)
def test_a_text_is_told_by_its_first_line(tmp_path, first):
    video = write_video(tmp_path, "a.txt", first + "\n0,0\n")
    write_video(tmp_path, "b.txt", "arousal,valence\n0,0\n")
    write_video(tmp_path, "c.csv", "valence,arousal\n0,0\n")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\n")
    assert find_videos(tmp_path) == [video]


def test_texts_are_looked_for_four_folders_deep_but_not_among_pictures(tmp_path):
    near, deep = (write_video(tmp_path, name) for name in ("z.txt", "a/b/c/d/y.txt"))
    write_video(tmp_path, "a/b/c/d/e/x.txt")
    write_video(tmp_path, "cropped_aligned/w.txt")
    write_video(tmp_path, "frames7/sub/v.txt")
    (tmp_path / "frames7" / "00001.jpg").touch()
    assert find_videos(tmp_path) == [deep, near]
    with pytest.raises(DatasetError, match=r"cannot read .*; check --data"):
        find_videos(tmp_path / "absent")


def test_videos_for_training_are_read_only_where_there_are_no_others(tmp_path):
    train = write_video(tmp_path, "VA/Train_Set/a.txt")
    assert find_videos(tmp_path) == [train]
    named = write_video(tmp_path, "VA/Validation_Set/train_station.txt")
    assert find_videos(tmp_path) == [named]
    assert find_videos(tmp_path / "VA" / "Train_Set") == [tmp_path / "VA" / "Train_Set" / "a.txt"]


def test_the_nth_line_is_of_the_nth_frame_and_what_is_not_there_is_counted(tmp_path):
    text = "valence,arousal\n1,-1\n0.5,-5\n-5,0.5\n\n0.25,0\n0,0.125\n"
    write_video(tmp_path, "v.txt", text, (1, 2, 3, 4, 5), "cropped")
    read = read_aff_wild2(tmp_path)
    found = [(s.path, s.valence, s.arousal, s.box) for s in read.samples]
    assert found == [("v/00001.jpg", 1, -1, None), ("v/00005.jpg", 0.25, 0, None)]
    assert read.left_out == {"without valence and arousal (-5)": 2, "without a picture": 1}
    assert read.pictures == tmp_path / "cropped"


@pytest.mark.parametrize("pictures", ["cropped_aligned", "images", "."])
def test_pictures_lie_in_one_of_several_folders(tmp_path, pictures):
    write_video(tmp_path, "annotations/v.txt", pictures=pictures)
    assert read_aff_wild2(tmp_path).pictures == tmp_path / pictures


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,0,0", "3 values, not two"),
        ("1.5,0", "1.5, which is outside"),
        ("0,-4", "-4, which is outside"),
    ],
)
def test_an_impossible_line_is_named(tmp_path, line, message):
    write_video(tmp_path, "v.txt", f"valence,arousal\n0,0\n{line}\n", (1, 2), "cropped")
    with pytest.raises(DatasetError, match=f"line 3: .*{message}"):
        read_aff_wild2(tmp_path)
