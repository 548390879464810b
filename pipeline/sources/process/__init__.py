"""Decoding in a process of its own: what a hostile stream takes over holds nothing but that stream.

::

    this process                                    decoder (one for each source)
    ProcessSource ──── SourceSpec, SourceOptions ──▶ open_source
         ▲  ring of slots, made and sealed here ◀──── pixels
         └──────────── JSON, checked ◀─────────────── what it is, each frame, its end

The decoder is a fresh interpreter (`child`) with an environment of its own, no descriptors but its
socket, limits of memory and rights (`sandbox`). Nothing that it says is trusted: its messages are
parsed by strict models (`messages`), and its pixels are bytes of a memory whose size it cannot
change (`ring`).
"""
