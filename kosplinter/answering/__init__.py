"""QuestionAnswerer: what a program calls to ask, teach, score, calibrate and save a model."""
