"""How far a probability can be trusted: temperature, threshold, risk and coverage."""
