"""Documents to records: tokenised, packed, masked, encoded."""
