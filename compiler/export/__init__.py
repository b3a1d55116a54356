"""Writes a model for users without netc: as ONNX, or as a Python file that needs only NumPy.

- both formats: exportable.py (the graph to be written), writer.py (the walk over it), scalar.py (the expressions of
  element-wise operations)
- a Python file: numpy_file.py, numpy_forms.py, numpy_frame.py, copied_functions.py
- ONNX: onnx_file.py, onnx_forms.py, onnx_nodes.py, onnx_attention.py, onnx_columns.py, onnx_dates.py; cells.py
  recognises recurrent layers
"""
