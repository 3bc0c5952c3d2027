"""What the views draw, worked out without Qt: numpy arrays and lists of shapes that tests compare exactly."""
