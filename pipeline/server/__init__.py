"""``facestream serve``: cameras, memory and a REST API in one process (extra ``server``)."""
