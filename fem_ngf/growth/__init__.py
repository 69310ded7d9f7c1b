"""Networks that grow where the Hilbert gradient tells them to."""
