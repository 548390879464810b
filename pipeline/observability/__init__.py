"""What runs, what a run did, and how to report it."""
