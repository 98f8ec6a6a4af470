"""The paper's figures and tables, one per name: `unisal analyze NAME`."""
