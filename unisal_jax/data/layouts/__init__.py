"""Readers of datasets as they lie on a disk: the releases' own layouts (`datasets`) and own data (`own`).

From folders to clips with the files of their ground truth (`releases`), whose maps and fixations are read
one frame at a time (`truth`).
"""
