"""Reads sources into the queue. A live source is reopened when it is lost.

::

    connecting ──► live ◄──► stalled          no frame for live.stall_after, or a frozen picture
        │           │           │
        └───────────┴───────────┴──► retrying ──► live     after pauses of 1 to 30 s, without limit
    paused      outside the schedule
    ended       stopped, or a file, a recorded clip or a pipe that was read to its end
    failed      no attempt can succeed: a protocol that FFmpeg does not know, a device that is no
                camera, standard input without video; or its frames fail again and again

An absent camera, a refused password and a missing path are retried, the last two with the longest
pause.
"""
