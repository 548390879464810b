"""Faces and landmarks in pictures: MTCNN, watched areas, the motion gate."""
