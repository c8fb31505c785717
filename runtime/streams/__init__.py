"""Streams: lanes that keep the order of each key, batches in the order of their partition, one watermark for both.

bus ─▶ consumer ─▶ lanes | batches ─▶ pipeline ─▶ watermark ─▶ commit
"""
