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
# The start of an H.264 message "recovery point": start code, kind of unit, kind of message.
_RECOVERY = b"\x00\x00\x01\x06\x06"
_HEAD = 1024  # bytes of a packet in which messages are looked for


class DamageGate:
    """Decides which decoded frames are whole.

    Frames from the damage to the next key frame are left out. With intra refresh there are no key
    frames: from time to time a column of each frame is renewed; a message in the stream says where
    such a sweep begins and how many frames it takes.

    Args:
        time_base: of the stream's packets and frames.

    Attributes:
        left_out: frames so far, apart from those that are marked themselves.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.left_out = 0
        self._longest = int(LONGEST / time_base)
        self._damage_at: list[int] = []  # where packets are damaged whose frames are to come
        self._damaged = False
        self._began: int | None = None
        self._frames = 0
        self._sweep: tuple[int, int] | None = None  # its first frame, and the frames to go
        self._tolerant = False  # no key frame came in time: until one comes, frames pass

    def damaged_packet(self, packet: Packet[VideoStream]) -> None:
        """The frame of this packet, and those that follow, are not whole."""
        times = [time for time in (packet.pts, packet.dts) if time is not None]
        if times:
            self._damage_at.append(min(times))

    def look_for_sweep(self, packet: Packet[VideoStream]) -> None:
        """Take note of a recovery point in a packet of H.264 with start codes."""
        count = _recovery_frames(bytes(memoryview(packet)[:_HEAD]))
        if count is not None and packet.pts is not None:
            self._sweep = (packet.pts, count)

    def passes(self, frame: VideoFrame) -> bool:
        """Whether a frame is whole; to be called once for each, in their order.

        Frames that are marked as corrupt are not counted in ``left_out``.
        """
        pts = frame.pts
        ahead = [] if pts is None else [time for time in self._damage_at if time > pts]
        packet, self._damage_at = len(ahead) < len(self._damage_at), ahead
        if packet or frame.is_corrupt:
            self._begin(pts)
        elif self._renewed(frame):
            self._damaged = self._tolerant = False
        if frame.is_corrupt:
            return False
        if self._damaged and not self._too_long(pts):
            self.left_out += 1
            return False
        return True

    def _begin(self, pts: int | None) -> None:
        if self._sweep is not None and pts is not None and pts > self._sweep[0]:
            self._sweep = None  # it is damaged, too
        if not (self._damaged or self._tolerant):
            self._damaged, self._began, self._frames = True, pts, 0

    def _renewed(self, frame: VideoFrame) -> bool:
        """Whether nothing in a frame depends on what was before, or was before the sweep."""
        if frame.key_frame and frame.pict_type == PictureType.I:
            return True
        if self._sweep is None or frame.pts is None or frame.pts < self._sweep[0]:
            return False
        first, left = self._sweep
        self._sweep = (first, left - 1) if left > 0 else None
        return left <= 0

    def _too_long(self, pts: int | None) -> bool:
        self._frames += 1
        if pts is None or self._began is None:
            over = self._frames > _LONGEST_FRAMES
        else:
            over = pts - self._began > self._longest
        if over:
            self._damaged, self._tolerant = False, True
        return over


def _recovery_frames(data: bytes) -> int | None:
    """Frames until everything is renewed, from the first recovery point in the data."""
    at = data.find(_RECOVERY)
    if at < 0:
        return None
    start = at + len(_RECOVERY) + 1  # behind the length
    bits = "".join(f"{byte:08b}" for byte in data[start : start + 5])
    zeros = len(bits) - len(bits.lstrip("0"))
    coded = bits[zeros : 2 * zeros + 1]  # an Exp-Golomb number
    return int(coded, 2) - 1 if coded else None
