"""Datasets: reads their layouts on disk as clips, and prepared datasets as batches of uint8 arrays, in an
order determined by the seed."""
