"""The mark of pictures that no camera took: how it is written, and how it is found.

A made or repaired face says so in its file, as IPTC's ``DigitalSourceType`` in XMP, the field that
C2PA, picture agencies and other generators use as well. Such a picture is no evidence of who
somebody is: ``images.decode_image`` refuses it, so it is never enrolled or matched. The mark is
lost with the file's metadata (a screenshot, most social networks).
"""

from __future__ import annotations

from typing import Final, Literal, get_args

SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
"""Made by a network altogether, or a photograph with parts made by one (a repair)."""

SOURCE_TYPES: Final[tuple[SourceType, ...]] = get_args(SourceType)
VOCABULARY: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PNG_KEYWORD: Final = "Synthetic"
_NAMES: Final = tuple((f"digitalsourcetype/{name}".encode(), name) for name in SOURCE_TYPES)
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="{vocabulary}{name}"
    xmp:CreatorTool="facestream"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def xmp_packet(source: SourceType) -> bytes:
    """The XMP that marks a picture, UTF-8."""
    return _XMP.format(vocabulary=VOCABULARY, name=source).encode()


def marked_as(content: bytes) -> SourceType | None:
    """What a file (or a metadata field of it) says it is, None where it says nothing.

    The words are looked for anywhere in the bytes: XMP is stored as plain text in PNG, JPEG, WebP
    and TIFF, and so are C2PA's assertions.

    Args:
        content: bytes of a picture file of any kind, or a text of its metadata.
    """
    return next((name for mark, name in _NAMES if mark in content), None)
