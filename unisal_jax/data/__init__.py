"""Datasets: reads their layouts on disk as clips, and prepared datasets as batches of uint8 arrays.

The seed alone determines the order of the batches.
"""
