"""Files of every layout as documents: sources, detection, a reader for each family of layouts, cleaning."""
