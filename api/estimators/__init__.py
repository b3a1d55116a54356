"""`netc.Classifier` and `netc.Regressor`: networks as estimators of scikit-learn, which only this folder imports.

A text in the language is built from their parameters, or taken as it is; it is trained as every other model.
"""

from netc.estimators.estimators import Classifier, Regressor

__all__ = ["Classifier", "Regressor"]
