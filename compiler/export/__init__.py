"""A model in use, written down for those who do not have netc: as ONNX, or as one file of Python that needs NumPy alone.

`writer.py` walks the graph and knows what both are made of; `onnx_file.py` and `numpy_file.py` are the two, `scalar.py` turns an element-wise operation's
expression into their words, `cells.py` knows an LSTM when it sees one.
"""
