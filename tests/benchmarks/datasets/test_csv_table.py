import pytest

from emonet_deploy.benchmarks.datasets.csv_table import read_table
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.errors import DatasetError

BOXED = "path,expression,valence,arousal,x0,y0,x1,y1\n"


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "faces.csv").write_bytes(text.encode(encoding))
        return tmp_path / "faces.csv"

    return write


def test_a_table_with_boxes_is_read(table):
    read = read_table(table(BOXED + "a.png,6,0.5,-0.25,1,2,30,40.5\nb/c.png,Happy,1,-1,,,,\n"))
    a, b = read.samples
    assert (a.path, a.expression, a.valence, a.arousal) == ("a.png", 6, 0.5, -0.25)
    assert a.box == (1.0, 2.0, 30.0, 40.5)
    assert (b.path, b.expression, b.box) == ("b/c.png", 1, None)
    assert read.pictures == table(BOXED).parent


def test_labels_of_a_table_fit_both_models(table):
    text = "path,expression,valence,arousal\na,anger,0,0\nb,fear,0,0\nc,3,0,0\n"
    assert [s.expression for s in read_table(table(text), 8).samples] == [6, 4, 3]
    assert [s.expression for s in read_table(table(text), 5).samples] == [4, 3]


def test_a_table_may_have_no_expression_and_a_byte_order_mark(table):
    read = read_table(table("path,arousal,valence,more\na,0.1,0.2,x\n", "utf-8-sig"))
    (sample,) = read.samples
    assert (sample.expression, sample.valence, sample.arousal) == (NO_EXPRESSION, 0.2, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,valence\na,1\n", "lacks the columns arousal"),
        ("", "lacks the columns"),
        (BOXED, "no sample is left"),
        (BOXED + "a,1,2,0,,,,\n", "line 2: valence is 2, which is outside"),
        (BOXED + "a,1,0,0,,,,\nb,1,0,,,,,\n", "line 3: arousal is '', which is no number"),
        (BOXED + "a,1,0\n", "line 2: arousal is None"),
        (BOXED + "a,9,0,0,,,,\n", "expression is 9, which is none of 0 to 7"),
        (BOXED + "a,glad,0,0,,,,\n", "expression is 'glad'"),
        (BOXED + "a,1,0,0,5,5,5,9\n", "has no area"),
        (BOXED + "a,1,0,0,5,5,9,\n", "y1 is '', which is no number"),
        (BOXED + "../a,1,0,0,,,,\n", "line 2: the path '../a' leaves"),
        (BOXED + "/etc/passwd,1,0,0,,,,\n", "leaves"),
        (BOXED + ",1,0,0,,,,\n", "path is empty"),
        (BOXED + '"a,1,0,0\n', "no CSV table"),
    ],
)
def test_an_unusable_table_is_an_error_that_names_the_line(table, text, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_table(table(text))
    assert "\n" not in str(caught.value)


def test_a_table_of_another_encoding_or_none_at_all_is_an_error(table, tmp_path):
    with pytest.raises(DatasetError, match="UTF-8"):
        read_table(table("path,valence,arousal\nä,0,0\n", "utf-16"))
    with pytest.raises(DatasetError, match="cannot read"):
        read_table(tmp_path / "absent.csv")
