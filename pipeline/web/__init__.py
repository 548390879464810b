"""What all HTTP servers share: limits, the Host header, headers of answers."""
