"""DICOM in and DICOM out: ultrasound images to gray pixels in mm, masks to SEG, measurements to SR, pictures to SC.

Needs the extra `dicom`, except for `recognise`. Never imports PyTorch.
"""
