"""The page on which a person looks at records."""
