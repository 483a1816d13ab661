"""Question answering: questions, features, model, training, decoding, scores, answers."""
