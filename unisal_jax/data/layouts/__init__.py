"""Readers of datasets on disk: in the layouts of the releases (`datasets`), and of own data (`own`).

They find clips and the files of their ground truth (`releases`). Maps and fixations are read one frame at a
time (`truth`).
"""
