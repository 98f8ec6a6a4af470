"""The page of `unisal demo`: `desk.py` does the work and knows no Gradio, `page.py` lays it out."""
