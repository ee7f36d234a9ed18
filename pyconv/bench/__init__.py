"""Benchmarks of feeding, training and testing against the authors' way of doing them, both sides in one process."""
