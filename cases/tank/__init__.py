"""Electrical impedance tomography of a tank: files, difference imaging, segmentation, score."""
