"""Writes a model for users without netc: as ONNX, or as a Python file that needs only NumPy.

`writer.py` walks the graph and holds the parts that both formats share; `onnx_file.py` and `numpy_file.py` write them.
`scalar.py` translates the expressions of element-wise operations, and `cells.py` recognises recurrent layers.
"""
