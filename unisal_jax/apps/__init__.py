"""Applications of densities: crops that keep attention, attention in regions, comparisons, scanpaths."""
