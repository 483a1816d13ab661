"""What is set aside between documents and shards: sorted spills, and counts of n-grams."""
