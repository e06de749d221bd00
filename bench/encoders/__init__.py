"""Encoders of bench/encoder.py, and the output layers that it trains them through."""
