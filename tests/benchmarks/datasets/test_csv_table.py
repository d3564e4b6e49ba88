import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        (BOXED + "a,11,0,0,,,,\n", "expression is '11', which is none of 0 to 10"),
        (BOXED + "a,9,0,0,,,,\n", r"no sample is left .*1 labelled as an uncertain emotion"),
        (BOXED + "a,1.5,0,0,,,,\n", "expression is '1.5'"),
        (BOXED + "a,1,0,0,20,10,20,50\n", "has no area; x1 and y1 are its right and lower edge"),
        ("path,valence,arousal,x0\na,0,1e999,1\n", "arousal is inf, which is not finite"),
        ("Path, Valence ,emotion\na,0,0\n", r"lacks the columns arousal; its header is 'Path', "),
        ("path,file,valence,arousal\na,b,0,0\n", "two columns for path: 'path' and 'file'"),
        (BOXED + "a\0.png,1,0,0,,,,\n", "line 2: the path"),
        (BOXED + "C:\\data\\a.png,1,0,0,,,,\n", "leaves"),
        (BOXED + "..\\a.png,1,0,0,,,,\n", "leaves"),
        (BOXED + "x" * 2_000_000 + "\n", "a line has more than 1048576 characters"),
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
    with pytest.raises(DatasetError, match="no text in UTF-8, or UTF-16"):
        read_table(table("path,valence,arousal\nä,0,0\n", "latin-1"))
    with pytest.raises(DatasetError, match="cannot read"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for path in (tmp_path / "loop.csv", "/dev/zero", tmp_path / ("a" * 300), tmp_path / "a\0"):
        with pytest.raises(DatasetError, match="cannot read"):
            read_table(path)


def the_sample(read):
    (sample,) = read.samples
    return sample.path, sample.expression, sample.valence, sample.arousal, sample.box


SAMPLE = ("a.png", 1, 0.6, -0.25, (1.0, 2.0, 30.0, 40.5))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path;expression;valence;arousal;x0;y0;x1;y1", "a.png;1;0,6;-0,25;1;2;30;40,5"),
        ("path\texpr\tval\taro\tx0\ty0\tx1\ty1", "a.png\thappy\t0.6\t-.25\t1\t2\t30\t40.5"),
        ("Path, Expression, Valence, Arousal,x1,y1,x2,y2", "a.png, joy, 0.6, -0.25,1,2,30,40.5"),
        ("FILE,Emotion,V,A,left,top,right,bottom", "a.png,HAPPINESS,0.6,-0.25,1,2,30,40.5"),
        ("image_path,label,valence,arousal,xmin,ymin,xmax,ymax", "a.png,1.0,.6,-0.25,1,2,30,40.5"),
        ('"file name","class","valence","arousal",x0,y0,x1,y1', '"a.png",1,.6,-0.25,1,2,30,40.5'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_are_read_as_people_write_them(table, header, row, encoding, end):
    assert the_sample(read_table(table(header + end + row + end, encoding))) == SAMPLE


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("Neutral", 0), ("Joy", 1), ("Sadness", 2), ("surprised", 3), ("Afraid", 4),
        ("Disgusted", 5), ("Angry", 6), (" contempt ", 7), ("7", 7),
    ],
)  # fmt: skip
def test_emotions_have_many_names(table, word, number):
    read = read_table(table(f"path,expression,valence,arousal\na,{word},0,0\n"))
    assert read.samples[0].expression == number


def test_what_cannot_be_judged_is_left_out_and_counted(table):
    rows = ["a,1,.5,.5", "b,8,0,0", "c,9,-2,-2", "d,,-2,-2", "e,none,,", "f,10,x,", "g,,-5,-5"]
    read = read_table(table("path,expression,valence,arousal\n" + "\n".join(rows) + "\n"))
    assert [sample.path for sample in read.samples] == ["a"]
    assert sum(read.left_out.values()) == 6
    assert read.left_out["without valence and arousal (-2 or -5)"] == 2


def test_paths_may_be_those_of_windows_and_absolute_where_they_lead_inside(table, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.png").touch()
    (tmp_path / "odd\\name.png").touch()
    rows = ["in\\b.png", str(tmp_path / "in" / "b.png"), "odd\\name.png"]
    read = read_table(table("path,valence,arousal\n" + "".join(f"{x},0,0\n" for x in rows)))
    assert [sample.path for sample in read.samples] == ["in/b.png", "in/b.png", "odd\\name.png"]


@pytest.mark.parametrize(
    ("folder", "where"),
    [
        (".", "."),
        ("Manually_Annotated_Images", "Manually_Annotated_Images"),
        ("../Manually_Annotated_Images", "../Manually_Annotated_Images"),
        ("elsewhere", "."),
    ],
)
@pytest.mark.parametrize("path", ["sub/a.png", "sub\\a.png"])
def test_pictures_are_looked_for_beside_the_table(tmp_path, folder, where, path):
    lists = tmp_path / "lists"
    (lists / folder / "sub").mkdir(parents=True)
    (lists / folder / "sub" / "a.png").touch()
    (lists / "t.csv").write_text(f"path,valence,arousal\n{path},0,0\nb.png,0,0\n")
    read = read_table(lists / "t.csv")
    assert read.pictures == (lists if where == "." else lists / where)
    assert [sample.path for sample in read.samples] == ["sub/a.png", "b.png"]


def test_the_ends_of_the_scale_and_a_row_that_ends_early_are_taken(table):
    text = "valence,arousal,path,expression,x0\n-1,1,a\n\n1,-1,b,0\n"
    read = read_table(table(text))
    assert [(s.path, s.expression, s.valence, s.arousal, s.box) for s in read.samples] == [
        ("a", NO_EXPRESSION, -1, 1, None),
        ("b", 0, 1, -1, None),
    ]


@pytest.mark.parametrize("missing", ["-2,0.5", "0.5,-2", "-5,0.5", "0.5,-5.0"])
def test_one_missing_value_is_enough_to_leave_a_row_out(table, missing):
    read = read_table(table(f"path,valence,arousal\na,0,0\nb,{missing}\n"))
    assert [sample.path for sample in read.samples] == ["a"]
    assert sum(read.left_out.values()) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,0,0,10,0,10,5", "no area"),
        ("a,0,0,0,10,5,10", "no area"),
        ("a,0,0,9,0,5,5", "the box 9, 0, 5, 5 has no area"),
        ("a,0,0,0,9,5,5", "the box 0, 9, 5, 5 has no area"),
        ("a,0,0,,0,5,5", "x0 is '', which is no number"),
        ("a,0,0,,,,5", "x0 is '', which is no number"),
    ],
)
def test_a_box_has_four_corners_and_an_area(table, row, message):
    with pytest.raises(DatasetError, match=f"line 3: .*{message}"):
        read_table(table(f"path,valence,arousal,x0,y0,x1,y1\nb,0,0,0,0,1,1\n{row}\n"))


def points(n):
    return ";".join(f"{i};{2 * i + 5}" for i in range(n))


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (points(68) + ";1", "odd number of values"),
        (points(67), "68 x 2"),
        (points(69), "68 x 2"),
        (points(67) + ";x;1", "facial_landmarks is 'x', which is no number"),
    ],
)
def test_landmarks_are_68_pairs(table, landmarks, message):
    with pytest.raises(DatasetError, match=message):
        read_table(table(f"path,valence,arousal,landmarks\na,0,0,{landmarks}\n"))


@pytest.mark.parametrize("end", ["", ";", "; "])
def test_the_box_is_that_around_the_landmarks_unless_it_is_given(table, end):
    text = f"path,valence,arousal,landmarks,x0,y0,x1,y1\na,0,0,{points(68)}{end},,,,\n"
    (sample,) = read_table(table(text)).samples
    assert sample.box == (0, 5, 67, 139)
    (sample,) = read_table(table(text.replace(",,,,", ",1,2,3,4"))).samples
    assert sample.box == (1, 2, 3, 4)


def test_a_comma_in_a_number_is_a_point_where_none_separates_columns(table):
    header = "path;valence;arousal;x0;y0;x1;y1\n"
    (sample,) = read_table(table(header + "a;-,5;+0,25;1,5;2,5;3,5;4,5\n")).samples
    assert (sample.valence, sample.arousal, sample.box) == (-0.5, 0.25, (1.5, 2.5, 3.5, 4.5))
    for value in ("1,000,5", "0,", "0,5e1"):
        with pytest.raises(DatasetError, match="no number"):
            read_table(table(header + f"a;{value};0;;;;\n"))


@pytest.mark.parametrize("length", [(1 << 20) - 1, 1 << 20])
def test_a_line_has_a_longest_length(table, length):
    path = table("path,valence,arousal,more\n" + "a,0,0,".ljust(length - 1, ",") + "\n")
    if length < 1 << 20:
        assert len(read_table(path)) == 1
    else:
        with pytest.raises(DatasetError, match="more than 1048576 characters"):
            read_table(path)


FIELD = Path(__file__).parents[2] / "data" / "field" / "tables"


def test_the_tables_of_others_are_read():
    assert the_sample(read_table(FIELD / "backslash.csv"))[0] == "pics/a.jpg"
    assert the_sample(read_table(FIELD / "semicolon.csv"))[1:4] == (1, 0.6, 0.3)
    assert [s.expression for s in read_table(FIELD / "names.csv").samples] == [1, 2]
    codes = read_table(FIELD / "codes_8_to_10.csv")
    assert (len(codes), sum(codes.left_out.values())) == (1, 2)


def test_affectnets_own_table_has_its_box_from_the_landmarks(tmp_path):
    read = read_table(FIELD / "affectnet2017.csv")
    assert [(s.path, s.expression, s.valence) for s in read.samples] == [
        ("pics/a.jpg", 1, 0.78), ("pics/b.jpg", 2, -0.4),
    ]  # fmt: skip
    assert read.samples[0].box == (20.5, 15.25, 68.5, 51.25)
    assert sum(read.left_out.values()) == 1
    lists = tmp_path / "Manually_Annotated_file_lists"
    lists.mkdir()
    shutil.copy(FIELD / "affectnet2017.csv", lists)
    shutil.copytree(FIELD / "pics", tmp_path / "Manually_Annotated_Images" / "pics")
    pictures = read_table(lists / "affectnet2017.csv").pictures
    assert (pictures / "pics/a.jpg").is_file()


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "path",
                "valence",
                "arousal",
                ",",
                ";",
                "\t",
                "\n",
                '"',
                "0,5",
                "-2",
                "a\\b",
                "\0",
                "1e999",
                "happy",
                "x0",
            ]
        )
    ).map("".join)
)
def test_any_text_is_a_table_or_one_kind_of_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        read_table(path)
    except DatasetError as error:
        assert len(str(error)) < 2000  # noqa: PT017 - a table may also be whole by chance
