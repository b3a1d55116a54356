"""The bounds of this machine for `netc profile`: its peak, the bandwidths of its caches, and the cost of a call."""
