"""The routes of the API, a module for each part; each has ``routers``."""
