"""The paper's figures and tables, each one command: `unisal analyze NAME`."""
