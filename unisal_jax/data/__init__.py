"""Datasets: layouts on a disk -> clips; prepared datasets -> batches of uint8 arrays.

The order of the batches depends on the seed alone.
"""
