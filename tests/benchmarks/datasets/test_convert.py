from pathlib import Path

import pytest

from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.datasets.convert import write_table
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.errors import DatasetError

HAPPY = Sample("a/1.png", 1, 0.5, 0.25, (1.0, 2.0, 30.0, 40.5))
CROP = Sample("2.png", NO_EXPRESSION, -0.5, 0.0, None)
UNPLEASANT = Sample("3.png", 1, -0.5, 0.25, None)


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def a_set(pictures, *samples, nclass=8):
    return Dataset("faces", pictures, nclass, samples)


def test_a_table_holds_the_samples_as_rows(pictures):
    dataset, table = a_set(pictures, HAPPY, CROP, UNPLEASANT), pictures.parent / "faces.csv"
    assert write_table(dataset, table) == 3
    assert table.read_bytes().decode().split("\n") == [
        "path,expression,valence,arousal,x0,y0,x1,y1",
        "pictures/a/1.png,1,0.5,0.25,1.0,2.0,30.0,40.5",
        "pictures/2.png,,-0.5,0.0,,,,",
        "pictures/3.png,1,-0.5,0.25,,,,",
        "",
    ]


def test_cleaned_it_holds_what_has_an_expression_that_fits(pictures):
    table = pictures / "faces.csv"
    assert write_table(a_set(pictures, HAPPY, CROP, UNPLEASANT), table, cleaned=True) == 1
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["path", "a/1.png"]
    with pytest.raises(DatasetError, match="faces: no sample passes the paper's cleaning"):
        write_table(a_set(pictures, CROP, UNPLEASANT), pictures / "other.csv", cleaned=True)
    assert not (pictures / "other.csv").exists()


def test_a_table_is_replaced_when_asked_and_only_when_it_is_one(pictures):
    table, dataset = pictures / "faces.csv", a_set(pictures, HAPPY)
    write_table(dataset, table)
    before = table.read_bytes()
    with pytest.raises(DatasetError, match="add --force"):
        write_table(a_set(pictures, CROP), table)
    assert table.read_bytes() == before
    write_table(a_set(pictures, CROP), table, force=True)
    assert table.read_bytes() != before
    # Windows ends lines otherwise; a column more is another's table, as is none.
    heading = b"path,expression,valence,arousal,x0,y0,x1,y1"
    table.write_bytes(heading + b"\r\nx,1,0,0,,,,\r\n")
    assert write_table(dataset, table, force=True) == 1
    for other in (heading + b",a\nrow\n", heading[:-1] + b"\n", b"", b"image,label\n"):
        table.write_bytes(other)
        with pytest.raises(DatasetError, match="no table of this toolkit's"):
            write_table(dataset, table, force=True)
        assert table.read_bytes() == other


def test_a_table_lies_above_its_pictures_and_keeps_eight_classes(pictures):
    with pytest.raises(DatasetError, match=r"lead down from its folder; write it to .*pictures/t"):
        write_table(a_set(pictures, HAPPY), pictures.parent / "beside" / "t.csv")
    for nclass in (5, 8):
        table = Path(pictures, f"{nclass}.csv")
        if nclass == 8:
            assert write_table(a_set(pictures, HAPPY), table) == 1
            continue
        with pytest.raises(DatasetError, match="read the data set for 8 classes"):
            write_table(a_set(pictures, HAPPY, nclass=5), table)
