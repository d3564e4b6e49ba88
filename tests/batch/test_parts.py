from math import inf

import pytest

from emonet_deploy.batch.parts import Listed, Part, list_table

CUT = [Part("a", 0.0, 12.0), Part("a", 10.0, 22.0, 12.0), Part("a", 20.0, None, 22.0)]


def test_a_part_is_read_between_its_seconds_a_file_from_end_to_end():
    assert Part("a").span == (0.0, inf)
    assert Part("a", 0.0, 12.0).span == (0.0, 12.0)
    assert Part("a", 20.0).span == (20.0, inf)
    assert Part("a", 0.0, 0.0).span == (0.0, 0.0)


@pytest.mark.parametrize(
    ("parts", "files", "clips"),
    [
        ([], 0, []),
        (["a"], 1, []),
        (["a", "b"], 2, []),
        ([Part("a"), Part("b")], 2, []),
        (CUT, 1, [range(3)]),
        ([Part("p"), *CUT, Part("q")], 3, [range(1, 4)]),
        ([*CUT, Part("b", 0.0, 2.0), Part("b", 1.0, None, 2.0)], 2, [range(3), range(3, 5)]),
        ([*CUT, *[Part("c", *part.span[:1], part.stop, part.fresh) for part in CUT]], 2,
         [range(3), range(3, 6)]),
    ],
)  # fmt: skip
def test_a_list_gives_back_what_it_was_made_of(parts, files, clips):
    listed = Listed(list_table(parts))
    assert len(listed) == len(parts)
    named = [part if isinstance(part, Part) else Part(part) for part in parts]
    assert [listed[i] for i in range(len(parts))] == named
    assert listed.file_count == files
    assert list(listed.cut_clips()) == clips
    assert listed.table.column("id").to_pylist() == list(range(len(parts)))
    assert ("start" in listed.table.column_names) is any(isinstance(p, Part) for p in parts)
