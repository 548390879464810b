"""The MTCNN cascade on an engine."""
