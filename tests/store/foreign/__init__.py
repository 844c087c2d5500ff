"""Other tools' files of configs."""
