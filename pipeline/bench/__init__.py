"""Measures facestream and its peers side by side: real video, fresh processes, medians."""
