"""Which fragments a staged module comes to."""
