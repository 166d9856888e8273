"""How tables get from a collector to the reducer."""
