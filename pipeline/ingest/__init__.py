"""Reads sources into the queue. A live source is read for months, lost, and opened again.

::

    connecting ──► live ◄──► stalled          no frame for live.stall_after, or a frozen picture
        │           │           │
        └───────────┴───────────┴──► retrying ──► live     after pauses of 1 to 30 s, for ever
    paused      outside the schedule
    ended       stopped, or a file, a recorded clip or a pipe that was read to its end
    failed      no attempt can succeed: a protocol that FFmpeg does not know, a device that is no
                camera, standard input without video; or its frames fail again and again

An absent camera, a refused password and a path that does not exist are tried again, the last two
with the longest pause.
"""
