"""The few-shot study: its protocol and its report."""
