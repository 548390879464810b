"""What FFmpeg may use, for each kind of source: protocols, formats and codecs.

A list of what is allowed, since FFmpeg knows hundreds of them, and some are texts that name other
files and hosts. Contexts that FFmpeg opens within one (a playlist's parts) inherit its lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Containers of one video, and nothing beside it.
_VIDEO = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "live_flv", "asf", "ogg"),
    *("h264", "hevc", "vvc", "obu", "ivf", "m4v", "mjpeg", "h263", "dv", "mxf", "nut", "gif"),
    *("yuv4mpegpipe", "vc1", "dhav", "wtv", "apng"),
)
# Pictures of kinds that Pillow does not know, each a file.
_STILLS = (
    *("bmp_pipe", "pcx_pipe", "png_pipe", "pgm_pipe", "ppm_pipe", "pbm_pipe", "pam_pipe"),
    *("sgi_pipe", "sunrast_pipe", "qoi_pipe", "jpeg_pipe", "webp_pipe", "gif_pipe"),
)
_SOUND = ("aac", "ac3", "eac3", "mp3", "webvtt")

# Sound is not decoded, but FFmpeg waits for its rate, which some streams have in their frames only:
# the first picture of MPEG-TS with AAC came after 3.0 s without them, 0.5 s with them.
_PROBED = (
    *("aac", "aac_fixed", "aac_latm", "ac3", "ac3_fixed", "eac3", "mp2", "mp2float", "mp3"),
    *("mp3float", "opus", "vorbis", "pcm_alaw", "pcm_mulaw", "pcm_s16be", "pcm_s16le", "g722"),
    *("g726", "g726le", "adpcm_g722", "adpcm_g726", "adpcm_g726le", "dca", "flac"),
)
CODECS = frozenset(
    {
        *("h264", "hevc", "vvc", "av1", "libdav1d", "libaom-av1", "vp8", "libvpx", "vp9"),
        *("libvpx-vp9", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2"),
        *("mjpeg", "mjpegb", "h261", "h263", "h263i", "h263p", "flv", "vc1", "wmv1", "wmv2"),
        *("wmv3", "theora", "dvvideo", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "utvideo"),
        *("rawvideo", "cinepak", "svq1", "svq3", "vp6", "vp6f", "jpeg2000", "gif", "apng"),
        *("png", "bmp", "pcx", "pgm", "ppm", "pbm", "pam", "sgi", "sunrast", "qoi", "webp"),
        *("qtrle", "rpza", "msvideo1", "flashsv", "v210", "yuv4", "magicyuv", "cfhd"),
    }
)
"""Names of the decoders of video."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The lists of one kind of source.

    Attributes:
        protocols: through which FFmpeg itself opens something; none: it opens nothing.
        formats: names of demuxers.
    """

    protocols: tuple[str, ...]
    formats: tuple[str, ...]

    def options(self) -> dict[str, str]:
        """For ``av.open``."""
        return {
            # An empty list would allow everything.
            "protocol_whitelist": ",".join(self.protocols) or "none",
            "format_whitelist": ",".join(self.formats),
            "codec_whitelist": ",".join((*sorted(CODECS), *_PROBED)),
        }


FILE = Allowed(("file",), (*_VIDEO, *_STILLS))
PIPE = Allowed((), (*_VIDEO, "mpjpeg"))
DEVICE = Allowed(("file",), ("video4linux2",))
HTTP = Allowed((), (*_VIDEO, *_SOUND, "mpjpeg", "hls", "dash"))
"""Of a server or camera: FFmpeg reads what `HttpFiles` gives it."""

_RTP = ("rtp", "srtp", "udp")
STREAMS: Mapping[str, Allowed] = {
    "rtsp": Allowed(("tcp", *_RTP), ("rtsp",)),
    "rtsps": Allowed(("tls", "tcp", *_RTP), ("rtsp",)),
    "rtmp": Allowed(("rtmp", "tcp"), ("flv", "live_flv")),
    "rtmps": Allowed(("rtmps", "tls", "tcp"), ("flv", "live_flv")),
    "srt": Allowed(("srt",), _VIDEO),
    "udp": Allowed(("udp",), _VIDEO),
    "rtp": Allowed(_RTP, ("rtp", "mpegts")),
    "tcp": Allowed(("tcp",), _VIDEO),
    "tls": Allowed(("tls", "tcp"), _VIDEO),
    "ftp": Allowed(("ftp", "tcp"), _VIDEO),
}
"""By scheme of a URL: what FFmpeg connects to."""

SCHEMES = ("http", "https", *STREAMS)
