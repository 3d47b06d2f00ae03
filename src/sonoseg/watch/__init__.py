"""`sonoseg watch`: segments the new ultrasound images of an archive, from outside: Orthanc, or any DICOMweb server.

Needs the extra `dicom`. Never imports PyTorch.
"""
