"""Datasets: layouts on a disk -> clips; prepared datasets -> batches of uint8 arrays, in an order that only
the seed decides."""
