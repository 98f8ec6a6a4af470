"""Prepared datasets -> batches of uint8 arrays, in an order that only the seed decides."""
