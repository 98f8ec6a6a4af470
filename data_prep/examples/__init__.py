"""Own data made ready for training: one short script a dataset."""
