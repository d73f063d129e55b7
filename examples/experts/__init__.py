"""A mixture of experts that drops no token, with a loss that balances them."""
