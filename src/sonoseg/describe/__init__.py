"""What can be said of an outlined lesion: measured features, and the words of a radiologist with a probability."""
