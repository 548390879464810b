"""After lost or damaged data a video is grey or smeared until the next whole picture.

FFmpeg marks the damaged frames and packets, but not the frames that are predicted from them.
"""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

# What moves repairs itself; a stream without key frames is watched again after so many seconds.
LONGEST = 10
_LONGEST_FRAMES = 250  # where the frames have no times


class DamageGate:
    """Decides which decoded frames are whole.

    Frames from the damage to the next key frame are left out. With intra refresh there are no key
    frames: from time to time a column of each frame is renewed, and FFmpeg marks the frame with
    which such a sweep is complete. Damage is gone if the sweep began behind it.

    Args:
        time_base: of the stream's packets and frames.

    Attributes:
        left_out: frames so far, apart from those that are marked themselves.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.left_out = 0
        self._longest = int(LONGEST / time_base)
        self._from: int | None = None  # the frame from which on damage is expected
        self._damaged = False
        self._began: int | None = None
        self._frames = 0  # since the last damage
        self._tolerant = False  # no key frame came in time: until one comes, frames pass

    def damaged_packet(self, packet: Packet[VideoStream]) -> None:
        """The frame of this packet, and those that follow, are not whole."""
        times = [time for time in (packet.pts, packet.dts) if time is not None]
        if times:
            self._from = min(times)

    def passes(self, frame: VideoFrame) -> bool:
        """Whether a frame is whole; to be called once for each, in their order.

        Frames that are marked as corrupt are not counted in ``left_out``.
        """
        pts = frame.pts
        if self._from is not None and (pts is None or pts >= self._from):
            self._from = None
            self._begin(pts)
            if frame.key_frame:  # it is the damaged one
                return self._leave_out(frame)
        if frame.is_corrupt:
            self._begin(pts)
            return False
        if frame.key_frame:
            self._key_frame(frame)
        if not self._damaged:
            return True
        self._frames += 1
        known = pts is not None and self._began is not None
        waited = (pts or 0) - (self._began or 0)
        if waited > self._longest if known else self._frames > _LONGEST_FRAMES:
            self._damaged, self._tolerant = False, True
            return True
        return self._leave_out(frame)

    def _begin(self, pts: int | None) -> None:
        if not (self._damaged or self._tolerant):
            self._damaged, self._began = True, pts
        self._frames = 0

    def _key_frame(self, frame: VideoFrame) -> None:
        columns = frame.width // 16
        if frame.pict_type == PictureType.I or self._frames >= columns:
            self._damaged = self._tolerant = False

    def _leave_out(self, frame: VideoFrame) -> bool:
        if not frame.is_corrupt:
            self.left_out += 1
        return False
