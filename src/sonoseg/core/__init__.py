"""Reads images and masks, measures lesions and computes scores, with numpy and Pillow alone. All parts share it."""
