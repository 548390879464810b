"""Events posted to URLs."""
