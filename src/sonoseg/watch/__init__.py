"""`sonoseg watch`: segments the new ultrasound images of an Orthanc server, from outside, over its REST interface.

Needs the extra `dicom`. Never imports PyTorch.
"""
