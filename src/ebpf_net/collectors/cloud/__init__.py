"""Who has which address in a cloud, as its provider's API tells it."""
