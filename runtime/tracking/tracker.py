"""One identity per face across the frames of a clip.

A face is first followed by its place: each known face moves on at constant velocity, and a
detection that overlaps the predicted box is the same face. A face that was out of sight comes back
to its identity by its looks (colours of the upper, middle and lower part of the box) when they are
close to what was remembered and clearly closer than to any other face; otherwise it gets a new
identity. Looks are never compared across clips, and forgotten after ``memory`` seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.runtime.detection.base import Box, Detection
from emonet_deploy.runtime.detection.iou import box_iou
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.tracking.appearance import colour_likeness, describe_colours
from emonet_deploy.runtime.tracking.matching import best_pairs

__all__ = ["Tracker"]

_MIN_OVERLAP = 0.2
_VELOCITY_GAIN = 0.4  # Share of the newest motion in the running velocity.
_LOOKS_GAIN = 0.1
_MAX_IDENTITIES = 64  # Bounds the work of a frame and the memory of an endless camera.
_SETTLING = 1.0  # Seconds in which a new face may still turn out to be a known one.


@dataclass
class _Track:
    identity: int
    box: NDArray[np.float64]
    velocity: NDArray[np.float64]  # of the box's centre, pixels per second
    looks: NDArray[np.float32]
    born: float
    seen: float

    def predicted(self, time: float) -> NDArray[np.float64]:
        return self.box + np.tile(self.velocity, 2) * (time - self.seen)


class Tracker:
    """Gives each detection of each frame the number of its identity, from 0.

    Frames must come in order of time. A frame of another source starts anew, numbers included.
    """

    def __init__(
        self, *, max_gap: float = 1.0, memory: float = 60.0, min_likeness: float = 0.96
    ) -> None:
        """Start without identities.

        Args:
            max_gap: for how many seconds an unseen face is expected where its motion leads.
            memory: for how many seconds a face is known by its looks after it was last seen; 0
                gives every returning face a new identity.
            min_likeness: how alike (0 to 1) the looks of a returning face must be.
        """
        self._max_gap, self._memory, self._min_likeness = max_gap, memory, min_likeness
        self._source = ""
        self._tracks: list[_Track] = []
        self._next = 0

    def update(self, frame: Frame, detections: list[Detection]) -> list[int | None]:
        """Return the identity of each detection, None for a faint one where no face was.

        ``frame.time`` must not be None.
        """
        if frame.source != self._source:
            self._source, self._tracks, self._next = frame.source, [], 0
        assert frame.time is not None
        time = frame.time
        kept = max(self._max_gap, self._memory)
        self._tracks = [track for track in self._tracks if time - track.seen <= kept]
        looks = [describe_colours(frame.image, found.box) for found in detections]
        owner = dict(self._by_place(time, detections, looks))
        for row, track in self._by_looks(time, detections, looks, owner):
            if row in owner:  # A young identity turns out to be a known one.
                self._tracks.remove(owner[row])
                track.velocity = owner[row].velocity
            else:
                track.velocity = np.zeros(2)
            track.box, track.seen = np.asarray(detections[row].box), time
            owner[row] = track
        for row, found in enumerate(detections):
            if row in owner:
                self._renew(owner[row], found.box, looks[row], frame)
            elif not found.faint:
                owner[row] = _Track(
                    self._next, np.asarray(found.box), np.zeros(2), looks[row], time, time
                )
                self._next += 1
                self._tracks.append(owner[row])
        # The longest unseen go first when there are too many.
        self._tracks = sorted(self._tracks, key=lambda track: track.seen)[-_MAX_IDENTITIES:]
        return [owner[row].identity if row in owner else None for row in range(len(detections))]

    def _by_place(
        self, time: float, detections: list[Detection], looks: list[NDArray[np.float32]]
    ) -> Iterator[tuple[int, _Track]]:
        tracks = [track for track in self._tracks if time - track.seen <= self._max_gap]
        shared = box_iou(
            [found.box for found in detections],
            np.array([track.predicted(time) for track in tracks]).reshape(-1, 4),
        )
        # Where faces cross, several overlap: looks decide between them.
        affinity = shared * _likeness_table(looks, tracks)
        affinity[shared < _MIN_OVERLAP] = 0
        for row, column in best_pairs(affinity, 0.0):
            yield row, tracks[column]

    def _by_looks(
        self,
        time: float,
        detections: list[Detection],
        looks: list[NDArray[np.float32]],
        owner: dict[int, _Track],
    ) -> Iterator[tuple[int, _Track]]:
        visible = {track.identity for track in owner.values()}
        lost = [
            track
            for track in self._tracks
            if track.identity not in visible and time - track.seen <= self._memory
        ]
        rows = [
            row
            for row in range(len(detections))
            if (time - owner[row].born < _SETTLING if row in owner else not detections[row].faint)
        ]
        # A young face cannot be one that was seen beside it since it came.
        table = _likeness_table([looks[row] for row in rows], lost)
        for index, row in enumerate(rows):
            if row in owner:
                for column, track in enumerate(lost):
                    if track.seen >= owner[row].born:
                        table[index, column] = 0
        for index, column in best_pairs(table, self._min_likeness):
            yield rows[index], lost[column]

    def _renew(self, track: _Track, box: Box, looks: NDArray[np.float32], frame: Frame) -> None:
        assert frame.time is not None
        new = np.asarray(box)
        passed = frame.time - track.seen
        if passed > 0:
            moved = ((new[:2] + new[2:]) - (track.box[:2] + track.box[2:])) / 2
            track.velocity += _VELOCITY_GAIN * (moved / passed - track.velocity)
        track.box, track.seen = new, frame.time
        height, width = frame.image.shape[:2]
        if new[0] > 0 and new[1] > 0 and new[2] < width and new[3] < height:
            track.looks += _LOOKS_GAIN * (looks - track.looks)


def _likeness_table(looks: list[NDArray[np.float32]], tracks: list[_Track]) -> NDArray[np.float64]:
    return np.array(
        [[colour_likeness(look, track.looks) for track in tracks] for look in looks]
    ).reshape(len(looks), len(tracks))
