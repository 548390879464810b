"""The page: what a browser shows of the service, rendered here; see docs/page.md.

A route calls the functions of the library that the commands and the API call.
"""
