import pytest

from emonet_deploy.runtime.media.frame_sampling import Pace


def chosen(pace, times):
    return [index for index, time in enumerate(times) if pace.wants(index, time)]


def clip(fps, seconds):
    """Time stamps as files hold them, rounded to milliseconds."""
    return [round(i / fps, 3) for i in range(round(fps * seconds))]


def test_without_limits_every_frame_is_looked_at():
    assert chosen(Pace(), clip(25, 1)) == list(range(25))
    assert Pace().rate(25.0) == 25.0


def test_every_nth_begins_with_the_first():
    assert chosen(Pace(every=4), clip(24, 0.5)) == [0, 4, 8]
    assert Pace(every=4).rate(25.0) == 6.25


@pytest.mark.parametrize(("fps", "most"), [(30, 10), (30, 15), (25, 5), (60, 20), (29.97, 29.97)])
def test_a_rate_that_divides_the_clips_is_met_to_the_frame(fps, most):
    step = round(fps / most)
    assert chosen(Pace(max_fps=most), clip(fps, 4)) == list(range(0, round(fps * 4), step))
    assert Pace(max_fps=most).rate(fps) == most


@pytest.mark.parametrize(("fps", "most"), [(30, 7), (25, 24), (24, 11), (60, 25)])
def test_any_other_rate_is_kept_in_the_mean_and_never_outrun(fps, most):
    times = clip(fps, 20)
    frames = chosen(Pace(max_fps=most), times)
    assert len(frames) == pytest.approx(20 * most, abs=1)
    assert [len([i for i in frames if s <= times[i] < s + 1]) for s in range(20)] == pytest.approx(
        [most] * 20, abs=1
    )


def test_a_pause_is_not_made_up_for():
    pace = Pace(max_fps=2)
    assert chosen(pace, [0.0, 0.25, 60.0, 60.25, 60.5, 60.75, 61.0]) == [0, 2, 4, 6]


def test_a_clip_slower_than_the_limit_keeps_its_rate():
    assert chosen(Pace(max_fps=60), clip(25, 1)) == list(range(25))
    assert Pace(max_fps=60).rate(25.0) == 25.0
    assert Pace(every=2, max_fps=10).rate(30.0) == 10.0
    assert Pace(every=5, max_fps=10).rate(30.0) == 6.0
