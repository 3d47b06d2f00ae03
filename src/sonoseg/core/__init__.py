"""What every part shares and that needs only numpy and Pillow: how images and masks are read."""
