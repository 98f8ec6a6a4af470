"""What densities are good for: crops that keep the attention, and how much of it a region gets."""
