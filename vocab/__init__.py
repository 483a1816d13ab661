"""WordPiece vocabularies: trained here or fetched from the public repositories."""
